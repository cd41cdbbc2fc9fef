"""What ZIP and TAR have in common: a table of contents read once, members found by name."""

from __future__ import annotations

import re
import weakref
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom.refusal import FileRefused, SourceRefused
from pipeline.dicom.sources.folder import RegularFile
from pipeline.dicom.sources.source import Entry, OpenFile
from pipeline.reasons import Reason

#: (place, length) -> bytes of the archive, fewer only at its end
Bytes: TypeAlias = Callable[[int, int], bytes]

_DRIVE: Final = re.compile(r"[A-Za-z]:")
_SEPARATORS: Final = re.compile(r"[/\\]")


@dataclass(frozen=True, kw_only=True)
class ArchiveLimits:
    """Bounds on an archive, compared with what it states before anything is unpacked."""

    #: how many members it may hold; the table of contents takes 24 bytes of memory for each
    members: int = 4_000_000
    #: bytes that all of it may unpack to. Nothing unpacks all of it: this tells hostile ones.
    total_bytes: int = 2**43
    #: bytes that one member may unpack to
    member_bytes: int = 2**33
    #: how many times its stored size a member may unpack to, where that is over ``free_bytes``
    ratio: int = 300
    free_bytes: int = 2**26


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One member of an archive that is no folder, as its table of contents states it."""

    name: str
    size: int
    stamp: str
    #: of its local header (ZIP) or of its first byte (TAR), in the archive
    place: int
    stored_size: int
    is_deflated: bool = False
    checksum: int = 0
    refused: tuple[Reason, str] | None = None


class Archive(ABC):
    """A source whose entries lie in one file. Safe for several threads at once."""

    def __init__(self, path: Path, limits: ArchiveLimits | None = None) -> None:
        """Open the archive; its table of contents is read when it is first needed.

        Raises:
            FileRefused: it is no regular file, or cannot be opened.

        """
        self._file = RegularFile(path)
        weakref.finalize(self, self._file.close)
        self._limits = limits or ArchiveLimits()
        self._read_table: _Table | None = None

    def entries(self) -> Iterator[Entry]:
        """Yield every entry, as ``Source.entries`` says, in the order of the archive."""
        read = Blocks(self._file).at
        table = self._table()
        for place in table.places():
            member = self._member(read, place)
            same = table.find(member.name)
            if len(same) > 1:
                # A hash may be shared by chance; a name that is shared counts once, refused.
                same = [one for one in same if self._member(read, one).name == member.name]
            if place == same[0]:
                refused = member.refused if len(same) == 1 else _AMBIGUOUS
                size, stamp = member.size, member.stamp
                yield Entry(name=member.name, size=size, stamp=stamp, refused=refused)

    def open(self, name: str) -> OpenFile:
        """Open one member, as ``Source.open`` says."""
        try:
            places = self._table().find(name)
            found = [self._member(self._file.read_at, place) for place in places]
        except SourceRefused as refused:
            raise FileRefused(refused.sentence, Reason.FILE_UNREADABLE) from None
        found = [member for member in found if member.name == name]
        if not found:
            raise FileRefused("the archive has no such member", Reason.FILE_MISSING)
        why = found[0].refused if len(found) == 1 else _AMBIGUOUS
        if why is not None:
            raise FileRefused(why[1], why[0])
        return self._open(found[0])

    @abstractmethod
    def _walk(self, read: Bytes) -> Iterator[tuple[str, int]]:
        """Yield (name, place of its table entry) of every member that is no folder."""

    @abstractmethod
    def _member(self, read: Bytes, place: int) -> Member:
        """Return the member whose table entry lies at ``place``."""

    @abstractmethod
    def _open(self, member: Member) -> OpenFile:
        """Open a member that is not refused."""

    def _table(self) -> _Table:
        if self._read_table is None:
            try:
                self._read_table = _Table(self._walk(Blocks(self._file).at), self._limits.members)
            except FileRefused as fault:
                raise unreadable_archive(fault.sentence) from None
        return self._read_table


class Blocks:
    """Reads ahead by a block, for a walk that goes forward in small steps."""

    def __init__(self, file: RegularFile, block: int = 1 << 16) -> None:
        self._file, self._block = file, block
        self._start, self._data = 0, b""

    def at(self, place: int, length: int) -> bytes:
        """Return the bytes at ``place``, as ``OpenFile.read_at`` says."""
        begin = place - self._start
        if begin < 0 or begin + length > len(self._data):
            self._data = self._file.read_at(place, max(length, self._block))
            self._start, begin = place, 0
        return self._data[begin : begin + length]


class _Table:
    """Where the table entry of a name lies: hashes, 24 bytes for each, and no names."""

    def __init__(self, walked: Iterable[tuple[str, int]], limit: int) -> None:
        hashes, places = array("q"), array("q")
        for name, place in walked:
            if len(hashes) == limit:
                sentence = f"the archive holds more than {limit} members"
                raise SourceRefused(sentence, Reason.SOURCE_TOO_LARGE)
            hashes.append(hash(name))
            places.append(place)
        self._places: NDArray[Any] = np.frombuffer(places, np.int64) if places else _NONE
        unsorted: NDArray[Any] = np.frombuffer(hashes, np.int64) if hashes else _NONE
        self._order = np.argsort(unsorted, kind="stable")
        self._hashes = unsorted[self._order]

    def places(self) -> Iterator[int]:
        """Yield every place, in the order of the archive."""
        return (int(place) for place in self._places)

    def find(self, name: str) -> list[int]:
        """Return the places where a member of this name may be described, in their order."""
        wanted = hash(name)
        first = int(self._hashes.searchsorted(wanted, "left"))
        last = int(self._hashes.searchsorted(wanted, "right"))
        return [int(self._places[i]) for i in self._order[first:last]]


_NONE: Final = np.empty(0, np.int64)
_AMBIGUOUS: Final = (
    Reason.FILE_DUPLICATE,
    "the archive holds several members of this name; none is used",
)


def text_of(raw: bytes) -> str:
    """Return a stored name as text: what is no UTF-8, and NUL, become escapes."""
    return raw.decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def outside(raw: bytes) -> tuple[Reason, str] | None:
    """Refuse a name that, unpacked, would lie outside of the folder (``..``, ``/x``, ``C:x``)."""
    name = raw.decode("utf-8", "replace")
    parts = _SEPARATORS.split(name)
    if not parts[0] or ".." in parts or _DRIVE.match(name) or "\0" in name:
        return Reason.FILE_OUTSIDE, "its name points outside of the archive"
    return None


def too_large(size: int, stored_size: int, limits: ArchiveLimits) -> tuple[Reason, str] | None:
    """Refuse a member that says it unpacks to too much, or to too much for what is stored."""
    if size > limits.member_bytes:
        sentence = f"it unpacks to {size} bytes, more than the {limits.member_bytes} allowed"
        return Reason.FILE_TOO_LARGE, sentence
    if size > limits.free_bytes and size > limits.ratio * stored_size:
        sentence = f"it unpacks to over {limits.ratio} times its stored size"
        return Reason.FILE_TOO_LARGE, sentence
    return None


def unreadable_archive(sentence: str) -> SourceRefused:
    """Return the refusal of an archive whose table of contents cannot be followed."""
    return SourceRefused(f"the archive cannot be read: {sentence}", Reason.SOURCE_UNREADABLE)
