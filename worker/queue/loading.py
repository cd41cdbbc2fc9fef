"""Loading code without the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Load what stays for good, unseen by the garbage collector.

    It would look through all that is loaded again and again, a fifth of the time of a start, and
    later with every full collection, half a second each where torch and MONAI are among it.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
