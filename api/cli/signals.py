"""Ctrl-C and the SIGTERM of a service manager end a command the same way."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into the KeyboardInterrupt of Ctrl-C, so that every block ends."""
    before = {sign: signal.signal(sign, _interrupt) for sign in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise in the main thread what Ctrl-C raises."""
    del number, frame
    raise KeyboardInterrupt
