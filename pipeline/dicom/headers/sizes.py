"""How many bytes an element takes, whatever is nested in it (PS3.5 7.1, 7.5; little endian)."""

from __future__ import annotations

from typing import Final

from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

SHORT_VRS: Final = frozenset(vr.encode() for vr in EXPLICIT_VR_LENGTH_16)
LONG_VRS: Final = frozenset(vr.encode() for vr in EXPLICIT_VR_LENGTH_32)
_ITEM: Final = b"\xfe\xff\x00\xe0"
_END_OF_ITEM: Final = b"\xfe\xff\x0d\xe0"
_END_OF_SEQUENCE: Final = b"\xfe\xff\xdd\xe0"
_UNDEFINED: Final = 0xFFFFFFFF
#: Deeper ones are left to the check that names them.
_DEEPEST: Final = 16
_UNBOUNDED: Final = 1 << 62


class Declined(Exception):
    """The file is not of the common kind, or not what it should be: pydicom shall look at it."""


class Short(Exception):
    """The header goes on behind the bytes given."""

    def __init__(self, needed: int) -> None:
        super().__init__()
        #: bytes of the file that are needed at least
        self.needed = needed


def implicit_size_of(data: bytes, place: int) -> int:
    """Return the size of the implicit little endian element at a place, its head included.

    Raises:
        Declined: it states no length, or more items than plain sequences have may be nested in it.
        Short: it goes on behind the bytes given.

    """
    length = int.from_bytes(data[place + 4 : place + 8], "little")
    if length == _UNDEFINED:
        raise Declined
    if data[place + 8 : place + 12] == _ITEM:
        _check_unknown(data, place + 8, place + 8 + length)
    return 8 + length


def size_of(data: bytes, place: int) -> int:
    """Return the size of the explicit little endian element at a place, its head included.

    Sequences are walked through to their end, so that none is deeper or longer than it should.

    Raises:
        Declined: it is not put together as it should be, or deeply nested.
        Short: it goes on behind the bytes given.

    """
    vr = data[place + 4 : place + 6]
    if vr in SHORT_VRS:
        return 8 + int.from_bytes(data[place + 6 : place + 8], "little")
    if vr not in LONG_VRS:
        raise Declined
    if place + 12 > len(data):
        raise Short(place + 12)
    length = int.from_bytes(data[place + 8 : place + 12], "little")
    if vr == b"SQ":
        end = _UNBOUNDED if length == _UNDEFINED else place + 12 + length
        return _end_of_sequence(data, place + 12, end) - place
    if length == _UNDEFINED:
        raise Declined
    if vr == b"UN":
        _check_unknown(data, place + 12, place + 12 + length)
    return 12 + length


def _end_of_sequence(data: bytes, place: int, end: int) -> int:
    """Walk through a sequence without recursion; return where it ends.

    ``ends`` holds where each open sequence and item ends, by turns; an end that only a delimiter
    will tell lies beyond every file.
    """
    ends = [end]
    while ends:
        if place >= ends[-1]:
            if place > ends.pop():
                raise Declined
            continue
        if place + 12 > len(data):
            raise Short(place + 12)
        place = _step(data, place, ends)
    return place


def _step(data: bytes, place: int, ends: list[int]) -> int:
    """Take the item, delimiter or element at a place; return what follows of it or in it."""
    is_in_sequence = len(ends) % 2 == 1
    tag, vr = data[place : place + 4], data[place + 4 : place + 6]
    length = int.from_bytes(data[place + 4 : place + 8], "little")
    if tag == (_END_OF_SEQUENCE if is_in_sequence else _END_OF_ITEM):
        if ends.pop() != _UNBOUNDED or length:
            raise Declined
        return place + 8
    if is_in_sequence and (tag != _ITEM or len(ends) > 2 * _DEEPEST):
        raise Declined
    if not is_in_sequence and vr != b"SQ":
        return place + size_of(data, place)
    place += 8
    if not is_in_sequence:
        length = int.from_bytes(data[place : place + 4], "little")
        place += 4
    ends.append(_UNBOUNDED if length == _UNDEFINED else place + length)
    return place


def _check_unknown(data: bytes, place: int, end: int) -> None:
    """Decline a value of unknown kind in which more items may be nested than should be."""
    if end > len(data):
        raise Short(end)
    if data.count(_ITEM, place, end) > _DEEPEST:
        raise Declined
