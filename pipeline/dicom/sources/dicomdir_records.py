"""The file names that a DICOMDIR lists, parsed within bounds (PS3.3 F.3, PS3.10 8).

Only what is needed: the records in the order of the file, without the tree that their offsets
spell, so that no loop in it can catch us; nested sequences are passed over without recursion.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pipeline.dicom.refusal import SourceRefused
from pipeline.reasons import Reason

MEDIA_DIRECTORY: Final = b"1.2.840.10008.1.3.10"
_IMPLICIT: Final = b"1.2.840.10008.1.2"
_BIG_ENDIAN: Final = b"1.2.840.10008.1.2.2"

_MEDIA_CLASS, _SYNTAX = 0x00020002, 0x00020010
_RECORDS, _IN_USE, _FILE_ID = 0x00041220, 0x00041410, 0x00041500
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED: Final = 0xFFFFFFFF
_LONG: Final = {b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UN", b"UC", b"UR", b"UT"} | {
    b"SV",
    b"UV",
}
_DEEPEST: Final = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class _Element:
    tag: int
    start: int
    #: None = undefined
    length: int | None


def is_directory(head: bytes) -> bool:
    """Say whether a file that begins with these bytes states that it is a DICOMDIR."""
    if head[128:132] != b"DICM":
        return False
    return any(
        element.tag == _MEDIA_CLASS and _text(head, element) == MEDIA_DIRECTORY
        for element in _meta(head)
    )


def file_names(data: bytes) -> Iterator[tuple[bytes, ...]]:
    """Yield the parts of every file name that a record in use refers to.

    Args:
        data: the whole DICOMDIR.

    Raises:
        SourceRefused: the bytes cannot be followed to their end.

    """
    place, syntax = 132, b""
    for element in _meta(data):
        place = element.start + (element.length or 0)
        syntax = _text(data, element) if element.tag == _SYNTAX else syntax
    parser = _Parser(data, is_implicit=syntax == _IMPLICIT, is_big=syntax == _BIG_ENDIAN)
    while place < len(data):
        element = parser.element(place)
        if element.tag == _RECORDS:
            yield from parser.names(element)
            return
        place = parser.after(element)
    raise _broken()


def _meta(data: bytes) -> Iterator[_Element]:
    """Yield the elements of the file meta information: explicit little endian, group 0002."""
    parser = _Parser(data, is_implicit=False, is_big=False)
    place = 132
    while data[place : place + 2] == b"\x02\x00":
        try:
            element = parser.element(place)
        except SourceRefused:
            return
        if element.length is None:
            return
        yield element
        place = element.start + element.length


class _Parser:
    def __init__(self, data: bytes, *, is_implicit: bool, is_big: bool) -> None:
        self._data, self._is_implicit = data, is_implicit
        order = ">" if is_big else "<"
        self._tag, self._short = struct.Struct(order + "2H"), struct.Struct(order + "H")
        self._length = struct.Struct(order + "L")

    def element(self, place: int) -> _Element:
        """Return the element, or the item, whose tag stands at ``place``."""
        data = self._data
        try:
            group, number = self._tag.unpack_from(data, place)
            vr = data[place + 4 : place + 6]
            if group == 0xFFFE or self._is_implicit:
                start, (length,) = place + 8, self._length.unpack_from(data, place + 4)
            elif vr in _LONG:
                start, (length,) = place + 12, self._length.unpack_from(data, place + 8)
            else:
                start, (length,) = place + 8, self._short.unpack_from(data, place + 6)
        except struct.error:
            raise _broken() from None
        if length != _UNDEFINED and start + length > len(data):
            raise _broken()
        stated = None if length == _UNDEFINED else length
        return _Element(tag=group << 16 | number, start=start, length=stated)

    def after(self, element: _Element) -> int:
        """Return the place behind an element; what has no stated length is walked to its end."""
        if element.length is not None:
            return element.start + element.length
        place, depth = element.start, 1
        while depth:
            inner = self.element(place)
            place = inner.start
            if inner.tag in (_ITEM_END, _SEQUENCE_END):
                depth -= 1
            elif inner.length is None:
                depth += 1
            else:
                place += inner.length
            if depth > _DEEPEST:
                raise _broken()
        return place

    def names(self, records: _Element) -> Iterator[tuple[bytes, ...]]:
        """Yield the file names of the items of the sequence of records."""
        place = records.start
        end = len(self._data) if records.length is None else records.start + records.length
        while place < end:
            item = self.element(place)
            if item.tag == _SEQUENCE_END and records.length is None:
                return
            if item.tag != _ITEM:
                raise _broken()
            name, place = self._name(item)
            if name:
                yield name
        if records.length is None:
            raise _broken()

    def _name(self, item: _Element) -> tuple[tuple[bytes, ...], int]:
        """Return the name in one record, empty where there is none in use, and what is behind."""
        place, name, is_used = item.start, b"", True
        end = len(self._data) if item.length is None else item.start + item.length
        while place < end:
            element = self.element(place)
            place = self.after(element) if element.tag != _ITEM_END else element.start
            if element.tag == _ITEM_END:
                break
            value = self._data[element.start : place]
            if element.tag == _FILE_ID:
                name = value
            elif element.tag == _IN_USE:
                is_used = value.strip(b"\0") != b""
        parts = tuple(part.strip(b" \0") for part in name.split(b"\\"))
        return (parts if is_used and any(parts) else ()), place


def _text(data: bytes, element: _Element) -> bytes:
    return data[element.start : element.start + (element.length or 0)].rstrip(b" \0")


def _broken() -> SourceRefused:
    sentence = "the DICOMDIR is damaged: its records cannot be followed"
    return SourceRefused(sentence, Reason.SOURCE_UNREADABLE)
