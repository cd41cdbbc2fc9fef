"""Look through the structure of a header before a parser does, which would follow it anywhere.

No recursion, no value is read, nothing is converted: sequences are followed as deep as they go,
and what is nested too deeply, holds too many elements or ends behind its file is refused by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO, Final, Literal

from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from pipeline.dicom.headers.wanted import TAGS
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.refusal import FileRefused
from pipeline.reasons import Reason

_LONG_VRS: Final = frozenset(vr.encode() for vr in EXPLICIT_VR_LENGTH_32)
_ITEM, _END_OF_ITEM, _END_OF_SEQUENCE = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED: Final = 0xFFFFFFFF
#: FloatPixelData, DoubleFloatPixelData, PixelData
_PIXELS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_LAST: Final = max(_PIXELS)
_LONGEST_UID: Final = 66
_BIG_ENDIAN: Final = b"1.2.840.10008.1.2.2"
_UID: Final = re.compile(rb"[0-9.]{1,64}")
#: whose file it is, known before the file is refused
_IDENTITY: Final = {
    TAGS["StudyInstanceUID"]: "study_instance_uid",
    TAGS["SeriesInstanceUID"]: "series_instance_uid",
    TAGS["SOPInstanceUID"]: "sop_instance_uid",
}


@dataclass(frozen=True, slots=True)
class _Level:
    """An open data set, sequence or item."""

    end: int
    is_implicit: bool
    #: its items hold bytes, not elements: the fragments of compressed pixels
    is_fragments: bool = False


@dataclass(frozen=True, slots=True)
class _Element:
    tag: int
    vr: bytes
    #: of the value
    place: int
    length: int


def check_structure(stream: BinaryIO, size: int, start: int, limits: HeaderLimits) -> None:
    """Look through a header as far as its pixel data.

    Args:
        stream: seekable; left where it was.
        size: bytes of the stream.
        start: of the first element, of the meta information where there is any.
        limits: how deep it may be nested, and how many elements it may hold.

    Raises:
        FileRefused: too deep, too many elements, or an element longer than the file; with the
            UIDs that stand before it.

    """
    was = stream.tell()
    gate = _Gate(stream, size, limits)
    try:
        gate.check(start)
    except FileRefused as refused:
        for name, uid in gate.uids.items():
            setattr(refused, name, uid)
        raise
    stream.seek(was)


class _Gate:
    def __init__(self, stream: BinaryIO, size: int, limits: HeaderLimits) -> None:
        self._stream, self._size, self._limits = stream, size, limits
        self._order: Literal["little", "big"] = "little"
        self._items = 0
        self.uids: dict[str, str] = {}

    def check(self, place: int) -> None:
        place, syntax = self._after_meta(place)
        head = self._peek(place, 6)
        # Data sets begin with group 0008, or one near; as little endian, big endian ones do not.
        seems_big = int.from_bytes(head[:2], "little") >= 0x0400
        if syntax == _BIG_ENDIAN or (not syntax and seems_big):
            self._order = "big"
        self._check(place, is_implicit=not _has_vr(head))

    def _after_meta(self, place: int) -> tuple[int, bytes]:
        """Return where the data set begins, and its transfer syntax, empty where none is stated.

        The meta information itself is always explicit little endian (PS3.10 7.1).
        """
        level, syntax = _Level(self._size, is_implicit=False), b""
        while (element := self._element(place, level)) is not None and element.tag >> 16 == 2:
            place = element.place + element.length
            self._check_inside(place)
            if element.tag == TAGS["TransferSyntaxUID"]:
                syntax = self._peek(element.place, min(element.length, _LONGEST_UID))
        return place, syntax.rstrip(b"\0 ")

    def _check(self, place: int, *, is_implicit: bool) -> None:
        levels = [_Level(self._size, is_implicit)]
        for _ in range(self._limits.elements):
            while len(levels) > 1 and place >= levels[-1].end:
                levels.pop()
            element = self._element(place, levels[-1])
            if element is None or (len(levels) == 1 and self._is_end(element.tag)):
                return
            if element.tag in (_END_OF_ITEM, _END_OF_SEQUENCE):
                levels.pop()
                place = element.place
                continue
            inner = self._inner(element, levels[-1])
            if inner is not None:
                levels.append(inner)
                self._check_depth(len(levels))
                place = element.place
                continue
            place = element.place + element.length
            if len(levels) == 1:
                self._check_inside(place)
                self._note(element)
        sentence = f"its header has more than {self._limits.elements} elements"
        raise FileRefused(sentence, Reason.FILE_BAD_HEADER)

    def _is_end(self, tag: int) -> bool:
        return tag in _PIXELS or tag > _LAST

    def _element(self, place: int, level: _Level) -> _Element | None:
        """Return the element, item or delimiter at a place; None at the end of the file."""
        head = self._peek(place, 12)
        if len(head) < 8:
            return None
        tag = self._number(head[:2]) << 16 | self._number(head[2:4])
        vr = head[4:6]
        if level.is_implicit or tag >> 16 == 0xFFFE or not _has_vr(head):
            return _Element(tag, b"", place + 8, self._number(head[4:8]))
        if vr in _LONG_VRS:
            return _Element(tag, vr, place + 12, self._number(head[8:12]))
        return _Element(tag, vr, place + 8, self._number(head[6:8]))

    def _note(self, element: _Element) -> None:
        """Keep the UIDs, for a refusal further on."""
        if element.tag in _IDENTITY and element.length <= _LONGEST_UID:
            uid = self._peek(element.place, element.length).rstrip(b"\0 ")
            if _UID.fullmatch(uid):
                self.uids[_IDENTITY[element.tag]] = uid.decode("ascii")

    def _inner(self, element: _Element, outer: _Level) -> _Level | None:
        """Return what an element opens: a sequence, an item; None where its value is passed over.

        Where no VR says so, a value that begins with an item is a sequence (PS3.5 6.2.2).
        """
        is_open = element.length == _UNDEFINED
        end = self._size if is_open else min(element.place + element.length, outer.end)
        if element.tag == _ITEM:
            self._count_item()
            return None if outer.is_fragments else _Level(end, outer.is_implicit)
        is_unknown = element.vr in (b"", b"UN")
        if is_open and not is_unknown and element.vr != b"SQ":
            return _Level(end, outer.is_implicit, is_fragments=True)
        if is_open or element.vr == b"SQ":
            return _Level(end, outer.is_implicit or element.vr == b"UN")
        begins = self._peek(element.place, 4) if is_unknown and element.length >= 8 else b""
        if len(begins) == 4 and self._number(begins[:2]) << 16 | self._number(begins[2:]) == _ITEM:
            return _Level(end, is_implicit=True)
        return None

    def _count_item(self) -> None:
        self._items += 1
        if self._items > self._limits.items:
            sentence = f"its header has more than {self._limits.items} items of sequences"
            raise FileRefused(sentence, Reason.FILE_BAD_HEADER)

    def _check_inside(self, end: int) -> None:
        if end > self._size:
            raise FileRefused("the file ends inside a data element", Reason.FILE_TRUNCATED)

    def _check_depth(self, levels: int) -> None:
        if levels > 2 * self._limits.nesting:
            sentence = f"its sequences are nested more than {self._limits.nesting} deep"
            raise FileRefused(sentence, Reason.FILE_TOO_NESTED)

    def _peek(self, place: int, length: int) -> bytes:
        self._stream.seek(place)
        return self._stream.read(length)

    def _number(self, raw: bytes) -> int:
        return int.from_bytes(raw, self._order)


def _has_vr(head: bytes) -> bool:
    vr = head[4:6]
    return len(vr) == 2 and vr.isalpha() and vr.isupper()
