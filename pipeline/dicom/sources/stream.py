"""An open file as the stream that libraries want."""

from __future__ import annotations

import io
from typing import BinaryIO

from pipeline.dicom.sources.source import OpenFile


def stream_of(file: OpenFile) -> BinaryIO:
    """Return a buffered, seekable stream over the file. The file is to be closed by its owner."""
    return io.BufferedReader(_Raw(file))


class _Raw(io.RawIOBase):
    #: asked for by pydicom, which would look for a file of that name
    name = ""

    def __init__(self, file: OpenFile) -> None:
        super().__init__()
        self._file = file
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._file.size}[whence]
        if origin + offset < 0:
            raise ValueError("a place before the start of the file")
        self._place = origin + offset
        return self._place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = self._file.read_into(self._place, memoryview(buffer).cast("B"))
        self._place += count
        return count
