"""Devices that a training and inference share: which of this machine's a training has.

A trainer holds a lock file per device while its process runs, in the home that the roles of one
machine share; a lock is gone with its holder, however it ended. Inference on such a device keeps
its routine jobs to one at a time, so that both go on; ``infer.stat`` and urgent jobs yield to
nobody.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from worker.queue import messages
from worker.queue.devices import physical_devices
from worker.queue.settings import Settings


@contextmanager
def training_on(settings: Settings) -> Iterator[None]:
    """Say for the block that a training has the devices of these settings."""
    with ExitStack() as held:
        for path in _locks(settings):
            file = held.enter_context(_opened(path))
            fcntl.flock(file, fcntl.LOCK_SH)  # any number of trainings may share a device
        yield


def has_training(settings: Settings) -> bool:
    """Say whether a training has one of the devices of these settings now."""
    return any(_is_held(path) for path in _locks(settings))


def is_to_yield(queue: str, settings: Settings) -> bool:
    """Say whether a job of this queue leaves room for a training that has the device."""
    return queue == messages.INFER_ROUTINE and has_training(settings)


def _is_held(path: Path) -> bool:
    with _opened(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _locks(settings: Settings) -> list[Path]:
    folder = settings.home / "devices"
    return [folder / f"{name}.training" for name in physical_devices(settings)]


def _opened(path: Path) -> IO[bytes]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path.open("ab")
