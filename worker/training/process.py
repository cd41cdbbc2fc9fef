"""The process of a training: started in a group of its own, listened to, and gone at the end."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Final

import structlog

from pipeline.training import launch
from worker.queue import tether
from worker.queue.devices import allocator
from worker.services import Services
from worker.training.order import Order

log = structlog.get_logger(__name__)

#: after SIGTERM the process has this long to write its checkpoint; the last epoch's stays anyway
GRACE_SECONDS: Final = 8.0
#: exit code of a process that wrote its checkpoint because it was asked to stop
PREEMPTED: Final = 75
_LISTEN_SECONDS: Final = 0.2


@contextmanager
def started(order: Order, services: Services) -> Iterator[subprocess.Popen[bytes]]:
    """Start the process in a group of its own; whatever happens, it is gone at the end."""
    paper = order.folder / "order.json"
    paper.write_text(json.dumps(order.document(services)))
    command = launch.command(paper, services.settings.device.split(","))
    tied = [sys.executable, "-I", "-S", str(tether.__file__), str(os.getpid()), *command]
    with (order.folder / "errors.log").open("wb") as errors:
        process = subprocess.Popen(
            tied,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            # no module is taken from the folder that the trainer was started in
            env={**os.environ, **allocator(), "PYTHONSAFEPATH": "1"},
        )
    try:
        yield process
    finally:
        _end(process)


def events(process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any] | None]:
    """Yield what the process says, and None now and then, until it says no more."""
    if process.stdout is None:
        message = "the process was started without a pipe"
        raise ValueError(message)
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    threading.Thread(
        target=_listen, args=(process.stdout, lines), name="training-progress", daemon=True
    ).start()
    while True:
        try:
            line = lines.get(timeout=_LISTEN_SECONDS)
        except queue.Empty:
            yield None
            continue
        if line is None:
            return
        event = _parse(line)
        if event is not None:
            yield event


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask for a checkpoint, wait a little, then kill the group."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            log.warning("training.killed")
    with contextlib.suppress(ProcessLookupError):  # the whole group has gone
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _listen(pipe: IO[bytes], lines: queue.SimpleQueue[bytes | None]) -> None:
    with contextlib.suppress(ValueError):  # closed under us: the training was stopped
        for line in pipe:
            lines.put(line)
    lines.put(None)


def _parse(line: bytes) -> dict[str, Any] | None:
    """Return an event; what libraries print between is none."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None
