"""A deflated member of an archive: inflated as far as it is read, counted and checked."""

from __future__ import annotations

import io
import tempfile
import zlib
from types import TracebackType
from typing import IO, Final, Self

from pipeline.dicom.refusal import FileRefused
from pipeline.dicom.sources.folder import RegularFile, unreadable
from pipeline.reasons import Reason

#: what the head of an item or element takes: more, and not from the start, may be pixels
_TAG: Final = 8
#: up to here ``read_at`` inflates only as far as it has to, at first so far: headers lie there
_HEADER: Final = 1 << 17
#: larger members go to a file without a name instead of memory
_IN_MEMORY: Final = 1 << 26
_FIRST: Final = 1 << 14
_CHUNK: Final = 1 << 16


class Inflated:
    """A deflated part of an open file, as a file.

    The start of a large member is served while the rest is still deflated, so that a header
    costs little: what is read from the first byte on, and single tags. Everything else, and
    every ``read_into``, waits for the whole: only then are its length and checksum known to be
    what the archive states.
    """

    def __init__(
        self, file: RegularFile, start: int, stored_size: int, *, size: int, checksum: int
    ) -> None:
        """Inflate nothing yet.

        Args:
            file: the archive.
            start: of the deflated bytes in it.
            stored_size: how many there are.
            size: how many they should inflate to; one more is refused.
            checksum: CRC-32 of what they should inflate to.

        """
        self._file, self._next, self._end = file, start, start + stored_size
        self.size: int = size
        self._checksum, self._found = checksum, 0
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._is_whole = False
        self._done = 0
        self._held: IO[bytes] = (
            io.BytesIO() if size <= _IN_MEMORY else tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        )

    def read_at(self, offset: int, length: int) -> bytes:
        """Return bytes, as ``OpenFile.read_at`` says."""
        end = min(offset + length, self.size)
        is_header = (offset == 0 or length <= _TAG) and end <= _HEADER < self.size
        self._inflate(max(end, _FIRST) if is_header else self.size)
        self._held.seek(offset)
        return self._held.read(max(0, end - offset))

    def read_into(self, offset: int, view: memoryview) -> int:
        """Fill ``view``, as ``OpenFile.read_into`` says."""
        self._inflate(self.size)
        self._held.seek(offset)
        done = 0
        while done < len(view) and (data := self._held.read(min(_CHUNK * 16, len(view) - done))):
            view[done : done + len(data)] = data
            done += len(data)
        return done

    def _inflate(self, end: int) -> None:
        """Inflate at least up to ``end``; to the very end of the member where that is its size.

        Raises:
            FileRefused: the deflated bytes are broken or are not what the archive states.

        """
        try:
            while not self._is_whole and (self._done < end or end == self.size):
                # One byte more than is stated may come, which tells that the archive lies.
                self._step(end - self._done if end < self.size else self.size + 1 - self._done)
        except zlib.error:
            raise _damaged("its compressed bytes are damaged") from None
        except OSError as error:
            raise FileRefused(unreadable(error), Reason.FILE_UNREADABLE) from None

    def _step(self, most: int) -> None:
        """Inflate at most so many bytes more."""
        data = self._inflater.unconsumed_tail
        if not data:
            data = self._file.read_at(self._next, min(_CHUNK, self._end - self._next))
            self._next += len(data)
        inflated = self._inflater.decompress(data, min(16 * _CHUNK, most))
        self._held.seek(self._done)
        self._held.write(inflated)
        self._done += len(inflated)
        self._found = zlib.crc32(inflated, self._found)
        if self._done > self.size:
            raise _damaged("it unpacks to more bytes than the archive states")
        if self._inflater.eof:
            self._finish()
        elif not data:
            raise _damaged("its compressed bytes end early")

    def _finish(self) -> None:
        if self._done < self.size:
            raise _damaged("it unpacks to fewer bytes than the archive states")
        if self._found != self._checksum:
            raise _damaged("its checksum is not the one the archive states")
        self._is_whole = True

    def __enter__(self) -> Self:
        """Return the open file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of what was inflated."""
        self._held.close()


def _damaged(sentence: str) -> FileRefused:
    return FileRefused(sentence, Reason.FILE_DAMAGED)
