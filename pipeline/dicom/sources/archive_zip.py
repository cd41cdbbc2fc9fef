"""A ZIP archive: stored members are read where they lie, deflated ones inflate when opened.

The table of contents is parsed here (PKWARE APPNOTE 4.3 and 4.4), because what it states is
checked before it is believed: names, sizes, places, and whether members overlap.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.dicom.refusal import FileRefused, SourceRefused
from pipeline.dicom.sources.archive import (
    Archive,
    ArchiveLimits,
    Bytes,
    Member,
    outside,
    text_of,
    too_large,
    unreadable_archive,
)
from pipeline.dicom.sources.inflating import Inflated
from pipeline.dicom.sources.source import OpenFile
from pipeline.dicom.sources.window import Window
from pipeline.reasons import Reason

_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_END: Final = struct.Struct("<4s4H2LH")
_END64_PLACE: Final = struct.Struct("<4sLQL")
_END64: Final = struct.Struct("<4sQ2H2L4Q")

_FULL32, _FULL16 = 0xFFFFFFFF, 0xFFFF
_ENCRYPTED: Final = 0x2041  # bits 0, 6 and 13 of the flags (4.4.4)
_UTF8: Final = 0x0800
_STORED, _DEFLATED = 0, 8
_UNIX: Final = 3
#: longest comment behind the end record
_COMMENT: Final = 0xFFFF


@dataclass(frozen=True, kw_only=True, slots=True)
class _Central:
    """One record of the central directory; ``end`` is the place of the next one."""

    raw_name: bytes
    end: int
    flags: int
    method: int
    checksum: int
    stored_size: int
    size: int
    mode: int
    place: int

    @property
    def name(self) -> str:
        """The name as text: UTF-8, or code page 437 where it is no valid UTF-8 (appendix D)."""
        if self.flags & _UTF8:
            return text_of(self.raw_name)
        try:
            return self.raw_name.decode("utf-8").replace("\0", "\\x00")
        except UnicodeDecodeError:
            return self.raw_name.decode("cp437").replace("\0", "\\x00")


class ZipArchive(Archive):
    """The members of a ZIP archive. Encrypted ones, links and escaping names are refused."""

    def __init__(self, path: Path, limits: ArchiveLimits | None = None) -> None:
        """Open the archive, as ``Archive`` says."""
        super().__init__(path, limits)
        self._shift = 0
        self._directory = 0

    def _walk(self, read: Bytes) -> Iterator[tuple[str, int]]:
        place, end, count = self._find_directory()
        stored = total = 0
        for _ in range(count):
            record = self._central(read, place, end)
            stored, total = stored + record.stored_size, total + record.size
            if total > self._limits.total_bytes:
                sentence = f"the archive unpacks to more than {self._limits.total_bytes} bytes"
                raise SourceRefused(sentence, Reason.SOURCE_TOO_LARGE)
            if stored > self._file.size:
                raise unreadable_archive("its members overlap, as in a bomb")
            if not record.raw_name.endswith(b"/"):
                yield record.name, place
            place = record.end
        if place != end:
            raise unreadable_archive("its table of contents has another length than it states")

    def _find_directory(self) -> tuple[int, int, int]:
        """Return (place, end, records) of the central directory.

        Raises:
            SourceRefused: there is none, so the archive is cut off or none at all; or it is
                one of several volumes.

        """
        size = self._file.size
        start = max(0, size - _END.size - _COMMENT)
        tail = self._file.read_at(start, size - start)
        found = tail.rfind(b"PK\x05\x06")
        while found >= 0 and not _is_end(tail, found):
            found = tail.rfind(b"PK\x05\x06", 0, found)
        if found < 0:
            raise unreadable_archive("it has no table of contents, as if it were cut off")
        _, disk, first_disk, here, count, length, offset, _ = _END.unpack_from(tail, found)
        end = start + found
        if end >= _END64_PLACE.size and (
            wide := self._find_directory64(end, needed=_FULL32 in (length, offset))
        ):
            end, disk, first_disk, here, count, length, offset = wide
        if disk or first_disk or here != count:
            raise unreadable_archive("it is one volume of several")
        # What was put before the archive shifts every place that it states.
        self._shift = end - length - offset
        self._directory = end - length
        if length > end or self._shift < 0:
            raise unreadable_archive("its table of contents lies outside of it")
        return self._directory, end, count

    def _find_directory64(
        self, end: int, *, needed: bool
    ) -> tuple[int, int, int, int, int, int, int] | None:
        """Return what the ZIP64 end record says, None where there is none (4.3.14, 4.3.15)."""
        locator = self._file.read_at(end - _END64_PLACE.size, _END64_PLACE.size)
        signature, _, place, disks = _END64_PLACE.unpack(locator)
        if signature != b"PK\x06\x07":
            if needed:
                raise unreadable_archive("its ZIP64 table of contents is missing")
            return None
        data = self._file.read_at(place, _END64.size) if place < self._file.size else b""
        if len(data) < _END64.size or data[:4] != b"PK\x06\x06" or disks > 1:
            raise unreadable_archive("its ZIP64 table of contents is damaged")
        _, _, _, _, disk, first_disk, here, count, length, offset = _END64.unpack(data)
        return place, disk, first_disk, here, count, length, offset

    def _central(self, read: Bytes, place: int, end: int) -> _Central:
        data = read(place, _CENTRAL.size) if place + _CENTRAL.size <= end else b""
        if data[:4] != b"PK\x01\x02" or len(data) < _CENTRAL.size:
            raise unreadable_archive("its table of contents is damaged")
        _, made_by, _, flags, method, _, _, checksum, stored_size, size, *rest = _CENTRAL.unpack(
            data
        )
        name_length, extra_length, comment_length, _, _, attributes, offset = rest
        after = place + _CENTRAL.size
        behind = read(after, name_length + extra_length)
        if len(behind) < name_length + extra_length or after + len(behind) > end:
            raise unreadable_archive("its table of contents is damaged")
        size, stored_size, offset = _widened(behind[name_length:], size, stored_size, offset)
        return _Central(
            raw_name=behind[:name_length],
            end=after + len(behind) + comment_length,
            flags=flags,
            method=method,
            checksum=checksum,
            stored_size=stored_size,
            size=size,
            mode=attributes >> 16 if made_by >> 8 == _UNIX else 0,
            place=offset + self._shift,
        )

    def _member(self, read: Bytes, place: int) -> Member:
        record = self._central(read, place, self._file.size)
        return Member(
            name=record.name,
            size=record.size,
            stamp=f"{record.checksum:08x}",
            place=place,
            stored_size=record.stored_size,
            is_deflated=record.method == _DEFLATED,
            checksum=record.checksum,
            refused=outside(record.raw_name) or _not_read(record) or self._too_large(record),
        )

    def _too_large(self, record: _Central) -> tuple[Reason, str] | None:
        return too_large(record.size, record.stored_size, self._limits)

    def _open(self, member: Member) -> OpenFile:
        record = self._central(self._file.read_at, member.place, self._file.size)
        start = self._first_byte(record)
        if not member.is_deflated:
            return Window(self._file, start, member.size)
        size, checksum = member.size, member.checksum
        return Inflated(self._file, start, member.stored_size, size=size, checksum=checksum)

    def _first_byte(self, record: _Central) -> int:
        """Return where the bytes of a member begin: behind its local header (4.3.7)."""
        data = self._file.read_at(record.place, _LOCAL.size + len(record.raw_name))
        if len(data) < _LOCAL.size or data[:4] != b"PK\x03\x04":
            raise FileRefused("the archive points to no such member", Reason.FILE_DAMAGED)
        *_, name_length, extra_length = _LOCAL.unpack_from(data)
        start: int = record.place + _LOCAL.size + name_length + extra_length
        is_named = data[_LOCAL.size :] == record.raw_name and name_length == len(record.raw_name)
        if not is_named or start + record.stored_size > self._directory:
            sentence = "the archive says two things of this member"
            raise FileRefused(sentence, Reason.FILE_DAMAGED)
        return start


def _is_end(tail: bytes, found: int) -> bool:
    """Say whether an end record lies here: its comment runs exactly to the end of the file."""
    if found + _END.size > len(tail):
        return False
    comment: int = _END.unpack_from(tail, found)[-1]
    return found + _END.size + comment == len(tail)


def _not_read(record: _Central) -> tuple[Reason, str] | None:
    if record.flags & _ENCRYPTED:
        return Reason.FILE_UNREADABLE, "it is encrypted"
    kind = stat.S_IFMT(record.mode)
    if kind not in (0, stat.S_IFREG):
        return Reason.FILE_NOT_REGULAR, "a link or device in the archive is not opened"
    if record.method not in (_STORED, _DEFLATED):
        sentence = f"compression method {record.method} of ZIP is not read"
        return Reason.FILE_UNREADABLE, sentence
    if record.method == _STORED and record.size != record.stored_size:
        return Reason.FILE_DAMAGED, "the archive states two sizes for a stored member"
    return None


def _widened(extra: bytes, size: int, stored_size: int, offset: int) -> tuple[int, int, int]:
    """Replace what does not fit in 32 bits by what the ZIP64 extra field says (4.5.3)."""
    if _FULL32 not in (size, stored_size, offset):
        return size, stored_size, offset
    wide = _zip64_field(extra)
    values: list[int] = []
    for narrow in (size, stored_size, offset):
        if narrow == _FULL32 and len(wide) >= 8:
            narrow, wide = int.from_bytes(wide[:8], "little"), wide[8:]  # noqa: PLW2901 - replaced in passing
        values.append(narrow)
    return values[0], values[1], values[2]


def _zip64_field(extra: bytes) -> bytes:
    place = 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, place)
        if kind == 1:
            return extra[place + 4 : place + 4 + length]
        place += 4 + length
    return b""
