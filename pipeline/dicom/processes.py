"""Child processes that read untrusted bytes: forked fresh from a small server, bounded, quiet.

A ``forkserver`` process imports pydicom and numpy once and forks a child per read in about ten
milliseconds; no child ever inherits locks, models or a CUDA context of the worker. Like every
multiprocessing start method but ``fork`` it imports the ``__main__`` of the program again in
each child, unless that is a package run with ``python -m`` (as our roles are): a script that
calls ``scan`` or ``read`` keeps its work under ``if __name__ == "__main__"`` and stays light.
"""

from __future__ import annotations

import functools
import logging
import math
import multiprocessing
import os
import resource
import signal
import sys
import warnings
from multiprocessing.context import ForkServerContext
from typing import Final

_MOST_FILES: Final = 4096


@functools.cache
def context() -> ForkServerContext:
    """Return the multiprocessing context that all readers share."""
    context = multiprocessing.get_context("forkserver")
    # Preloading is only speed: where it fails, each child imports for itself.
    context.set_forkserver_preload(
        [
            "pipeline.dicom.pixels.decoding",
            "pipeline.dicom.headers.process",
            "pipeline.dicom.pixels.preload",
        ]
    )
    return context


def confine(*, memory_bytes: int, seconds: float | None) -> None:
    """Bound the process this is called in, and keep it quiet. Called first in every child.

    Args:
        memory_bytes: address space it may take beyond what it has.
        seconds: after these the kernel ends it (SIGALRM), also inside a decoder written in C
            and also when its parent has died; None = no such end.

    """
    quieten()
    if sys.platform == "linux":
        limit = _address_space() + memory_bytes
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    if seconds is not None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(math.ceil(seconds) + 1)


def quieten() -> None:
    """Keep the process this is called in quiet, whatever comes. ``confine`` does it too."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Ctrl-C reaches the whole process group; the parent decides what becomes of a read. SIGTERM
    # is how multiprocessing ends its children when the program exits, so it stays deadly.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # pydicom quotes element values in its warnings: they are patient data and end in no log.
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")


def allow_open_files() -> None:
    """Let this process keep the files of a long series open between their header and pixels."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _address_space() -> int:
    # Without a text file: its codecs are cold in a child that was just forked, and take 0.7 ms.
    try:
        descriptor = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return int(os.read(descriptor, 64).split()[0]) * resource.getpagesize()
    finally:
        os.close(descriptor)
