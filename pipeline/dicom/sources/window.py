"""A file that lies, as it is, inside another."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from pipeline.dicom.sources.folder import RegularFile


class Window:
    """``size`` bytes of an open file from ``start`` on, as a file. The outer one stays open."""

    def __init__(self, file: RegularFile, start: int, size: int) -> None:
        self._file, self._start = file, start
        self.size: int = size

    def read_at(self, offset: int, length: int) -> bytes:
        """Return bytes, as ``OpenFile.read_at`` says."""
        length = min(length, self.size - offset)
        return self._file.read_at(self._start + offset, length) if length > 0 else b""

    def read_into(self, offset: int, view: memoryview) -> int:
        """Fill ``view``, as ``OpenFile.read_into`` says."""
        length = max(0, min(len(view), self.size - offset))
        return self._file.read_into(self._start + offset, view[:length])

    def __enter__(self) -> Self:
        """Return the open file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the outer file open."""
