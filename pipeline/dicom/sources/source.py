"""What a source is to those who read it: names in one order, and bytes at a place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from pipeline.reasons import Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One thing of a source that is no folder. ``refused`` says why it will not be opened."""

    #: relative to the source, "/" between folders; never used to build a name of our own
    name: str
    size: int
    #: changes when the content may have: times, checksum or ETag as text
    stamp: str = ""
    refused: tuple[Reason, str] | None = None


class OpenFile(Protocol):
    """One file of a source, open for reading at any place. Used by one thread at a time."""

    @property
    def size(self) -> int:
        """Bytes of the file."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Return the bytes at ``offset``; fewer than ``length`` only at the end of the file.

        Raises:
            FileRefused: what lies below cannot be read.

        """
        ...

    def read_into(self, offset: int, view: memoryview) -> int:
        """Fill ``view`` (bytes) from ``offset``; return how many bytes were there."""
        ...

    def __enter__(self) -> Self:
        """Return the open file."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        ...


class Source(Protocol):
    """Files by name. Cheap to make from its address, so that every process makes its own."""

    def entries(self) -> Iterator[Entry]:
        """Yield every entry once, opening none; in the same order as long as nothing changes.

        Raises:
            SourceRefused: the source does not exist or cannot be listed.

        """
        ...

    def open(self, name: str) -> OpenFile:
        """Open one file; nothing that lies outside the source, and no link.

        Raises:
            FileRefused: with the reason code and a sentence.

        """
        ...
