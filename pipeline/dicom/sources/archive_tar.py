"""A plain TAR archive: members are read where they lie.

The headers are parsed here (POSIX.1-2017 pax, "ustar Interchange Format"; GNU's long names and
base-256 numbers), because what they state is checked before it is believed. An archive that is
cut off is refused as a whole: what it lacks cannot be known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pipeline.dicom.refusal import SourceRefused
from pipeline.dicom.sources.archive import (
    Archive,
    Bytes,
    Member,
    outside,
    text_of,
    too_large,
    unreadable_archive,
)
from pipeline.dicom.sources.source import OpenFile
from pipeline.dicom.sources.window import Window
from pipeline.reasons import Reason

BLOCK: Final = 512
_REGULAR: Final = b"0\x007"  # 7: contiguous, read as regular where there is no such thing
_FOLDERS: Final = b"5D"
_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK, _VOLUME = b"x", b"g", b"L", b"K", b"V"
_KINDS: Final = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a FIFO",
    b"S": "a sparse file",
    b"M": "a part of a file from another volume",
}
#: bytes of a name or of a list of attributes that stand before a member
_LONGEST_EXTENSION: Final = 1 << 20
#: the last two blocks of an archive are empty; the second is missing from some
_EMPTY: Final = bytes(BLOCK)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Record:
    """A member as its headers state it, those that stand before its own included."""

    raw_name: bytes
    kind: bytes
    size: int
    is_sparse: bool
    #: of the first byte of the member
    first: int

    @property
    def end(self) -> int:
        """Where the next header lies: what follows a header fills whole blocks."""
        return self.first + -(-self.size // BLOCK) * BLOCK


class TarArchive(Archive):
    """The members of a plain TAR archive. Links, devices and escaping names are refused."""

    def _walk(self, read: Bytes) -> Iterator[tuple[str, int]]:
        place, total = 0, 0
        while (record := self._record(read, place)) is not None:
            total += record.size
            if total > self._limits.total_bytes:
                sentence = f"the archive unpacks to more than {self._limits.total_bytes} bytes"
                raise SourceRefused(sentence, Reason.SOURCE_TOO_LARGE)
            if record.first + record.size > self._file.size:
                raise unreadable_archive("it ends inside a member, as if it were cut off")
            is_folder = record.kind in _FOLDERS or record.raw_name.endswith(b"/")
            if not is_folder and record.kind != _VOLUME:
                yield text_of(record.raw_name), place
            place = record.end

    def _record(self, read: Bytes, place: int) -> _Record | None:
        """Return the member whose first header lies at ``place``, None at the end."""
        long_name: bytes | None = None
        attributes: dict[bytes, bytes] = {}
        while True:
            block = read(place, BLOCK)
            if block == _EMPTY:
                return None
            kind, size = _kind_and_size(block)
            first = place + BLOCK
            if kind not in (_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK):
                break
            if size > _LONGEST_EXTENSION:
                raise unreadable_archive("a name in it is absurdly long")
            data = read(first, size)
            if kind == _PAX:
                attributes = _attributes(data)
            elif kind == _LONG_NAME:
                long_name = data.split(b"\0", 1)[0]
            place = first + -(-size // BLOCK) * BLOCK
        stated = attributes.get(b"size")
        if stated is not None and (not stated.isdigit() or len(stated) > 19):
            raise unreadable_archive("the size of a member is no number")
        return _Record(
            raw_name=_without_dot(attributes.get(b"path") or long_name or _short_name(block)),
            kind=kind,
            size=0 if kind in b"123456" else int(stated or size),
            is_sparse=any(key.startswith(b"GNU.sparse.") for key in attributes),
            first=_behind_map(read, first, block) if kind == b"S" else first,
        )

    def _member(self, read: Bytes, place: int) -> Member:
        record = self._record(read, place)
        if record is None:
            raise unreadable_archive("it changed while it was read")
        refused = outside(record.raw_name)
        if record.kind not in _REGULAR or record.is_sparse:
            kind = "a sparse file" if record.is_sparse else _KINDS.get(record.kind, "such a member")
            refused = refused or (Reason.FILE_NOT_REGULAR, f"{kind} in the archive is not opened")
        return Member(
            name=text_of(record.raw_name),
            size=record.size,
            # A member has no checksum of its own, so it is new where the archive is.
            stamp=f"{self._file.modified} {record.first}",
            place=record.first,
            stored_size=record.size,
            refused=refused or too_large(record.size, record.size, self._limits),
        )

    def _open(self, member: Member) -> OpenFile:
        return Window(self._file, member.place, member.size)


def is_header(block: bytes) -> bool:
    """Say whether these bytes begin like a TAR archive: its first header sums up rightly."""
    if len(block) < BLOCK or block[:BLOCK] == _EMPTY:
        return False
    stated = block[148:156].strip(b" \0")
    rest = block[:148] + b" " * 8 + block[156:BLOCK]
    if not stated or stated.strip(b"01234567"):
        return False
    # Old programs summed signed bytes.
    wanted = int(stated, 8)
    return sum(rest) == wanted or sum(b - 256 if b > 127 else b for b in rest) == wanted


def _kind_and_size(block: bytes) -> tuple[bytes, int]:
    if len(block) < BLOCK:
        raise unreadable_archive("it has no end mark, as if it were cut off")
    if not is_header(block):
        raise unreadable_archive("what stands between two members is no header")
    size = _number(block[124:136])
    if size < 0:
        raise unreadable_archive("the size of a member is no number")
    return block[156:157], size


def _number(field: bytes) -> int:
    """Return an octal number, or a base-256 one (first bit set); -1 where it is neither."""
    if field[0] & 0x80:
        return -1 if field[0] != 0x80 else int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    return -1 if digits.strip(b"01234567") else int(digits or b"0", 8)


def _behind_map(read: Bytes, first: int, block: bytes) -> int:
    """Return where the data of a sparse member begin: behind the rest of its map of holes."""
    flag = block[482]
    while flag:
        flag = (read(first, BLOCK) or bytes(BLOCK)).ljust(BLOCK, b"\0")[504]
        first += BLOCK
    return first


def _short_name(block: bytes) -> bytes:
    name = block[:100].split(b"\0", 1)[0]
    if block[257:263] == b"ustar\0" and (prefix := block[345:500].split(b"\0", 1)[0]):
        return prefix + b"/" + name
    return name


def _without_dot(name: bytes) -> bytes:
    """Return a name as ``tar -C folder .`` would have it without the folder."""
    while name.startswith(b"./"):
        name = name[2:].lstrip(b"/") if name[2:].strip(b"/") else b"/"
    return name


def _attributes(data: bytes) -> dict[bytes, bytes]:
    """Return the pax attributes of a member: records of "length key=value" and a newline."""
    attributes: dict[bytes, bytes] = {}
    place, end = 0, len(data.rstrip(b"\0"))
    while place < end:
        space = data.find(b" ", place, place + 8)
        digits = data[place:space] if space > 0 else b""
        length = int(digits) if digits.isdigit() else 0
        key, equals, value = data[space + 1 : place + length].partition(b"=")
        if not equals or place + length > len(data) or not value.endswith(b"\n"):
            raise unreadable_archive("the attributes of a member are damaged")
        attributes[key] = value[:-1]
        place += length
    return attributes
