"""Keeping the folder of prepared cases that trainings share (``cache``) below a size.

Apart from what prepares cases, so that who looks after the disk needs nothing that reads images.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

#: what is noted of a case; written last, and touched whenever a training asks for the case
ENTRY: Final = "entry.json"
#: of a folder that is being written
PREFIX: Final = ".writing-"
_LEFT_BEHIND_SECONDS: Final = 24 * 3600.0


def trim(shared: Path, most_bytes: int) -> int:
    """Remove the entries that were not asked for the longest until the rest is small enough.

    Trainings that run keep theirs. Returns how many bytes were taken out of the folder.
    """
    removed = 0
    known = sorted(_uses(shared))
    total = sum(size for _, size, _ in known)
    for _, size, place in known:
        if total - removed <= most_bytes:
            break
        shutil.rmtree(place, ignore_errors=True)
        removed += size
    for left in shared.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if left.stat().st_mtime < time.time() - _LEFT_BEHIND_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    return removed


def _uses(shared: Path) -> Iterator[tuple[float, int, Path]]:
    """Yield when each entry was last asked for, its size and its place."""
    for entry in shared.glob(f"*/{ENTRY}"):
        with suppress(OSError):  # it is being removed by somebody else
            size = sum(file.stat().st_size for file in entry.parent.iterdir())
            yield entry.stat().st_mtime, size, entry.parent
