"""An object whose pickle runs a command when it is read the usual way."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


class Harmful:
    """Unpickling it makes a file, which tells that code ran."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        """Ask whoever unpickles to run a command."""
        return os.system, (f"touch {self._path}",)
