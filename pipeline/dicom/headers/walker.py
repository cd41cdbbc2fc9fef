"""A walk over the header of a common file: little endian, with preamble and meta information.

Most files of the world are of this kind, and a walk that only looks for what is wanted is many
times faster than a parser. Whatever is not plainly of this kind is left to pydicom: the walker
accepts or declines, it never refuses.

Three things make it fast. What follows from the eight bytes before a value (tag, VR, length) is
worked out once and remembered. Files of one series are laid out alike, so a header is compared,
and its values taken, in a few pieces, and what the files share is one object for all of them.
And no value is converted here.
"""

from __future__ import annotations

from typing import Final

from pydicom.datadict import dictionary_VR
from pydicom.valuerep import EXPLICIT_VR_LENGTH_16

from pipeline.dicom.headers.layouts import HEAD, NOTHING, OWN, START, Walked
from pipeline.dicom.headers.learning import Learned, SeriesLayouts, Span
from pipeline.dicom.headers.sizes import (
    LONG_VRS,
    SHORT_VRS,
    Declined,
    Short,
    implicit_size_of,
    size_of,
)
from pipeline.dicom.headers.wanted import KEYS, VRS

#: PixelData, and the first of the three elements that hold pixels
_PIXEL_DATA, _FIRST_PIXELS = 0x7FE00010, 0x7FE00008
_META_GROUP: Final = 0x0002
#: behind the preamble: the prefix, and the head of the length of the meta information
_BEGINNING: Final = b"DICM\x02\x00\x00\x00UL\x04\x00"
_CHARACTER_SET: Final = KEYS["SpecificCharacterSet"]
_SYNTAX: Final = KEYS["TransferSyntaxUID"]
_IMPLICIT: Final = b"1.2.840.10008.1.2"
_PLAIN_VRS: Final = frozenset(str(vr) for vr in EXPLICIT_VR_LENGTH_16)
#: size of a wanted element that is too long for a VR of the short kind
_LONGEST: Final = 8 + (1 << 16)
#: stands for the tag of the element that a walk ends before
_END: Final = b"end"
#: Different heads remembered before starting again: tags x VRs x lengths of hostile files.
_REMEMBERED: Final = 1 << 14

#: keyword by tag as it stands in a file; the values of a walk come in this order
KEYWORDS: Final = {key: keyword for keyword, key in KEYS.items()}
_VRS: Final = {KEYS[keyword]: tuple(vr.encode() for vr in vrs) for keyword, vrs in VRS.items()}


class Walker:
    """Walks headers, faster the more they are alike. For one thread."""

    def __init__(self) -> None:
        self._meta, self._explicit, self._implicit = _MetaHeads(), _Heads(), _ImplicitHeads()
        self._learned = Learned()

    def walk(self, data: bytes) -> Walked:
        """Find the wanted elements of a file.

        Args:
            data: the file from its start, as far as its pixel data or further.

        Raises:
            Declined: the file is to be read in another way.
            Short: more of the file is needed.

        """
        if data[128:140] != _BEGINNING:
            raise Declined
        learned = self._learned.of(data)
        for layout in learned.layouts:
            if (walked := layout.along(data)) is not None:
                return walked
        return self._walk(data, learned)

    def _walk(self, data: bytes, learned: SeriesLayouts) -> Walked:
        """Walk from element to element, and learn from the file."""
        found = NOTHING.copy()
        start = self._meta.walk(data, START, found)
        is_implicit = found[_SYNTAX].rstrip(b"\0 ") == _IMPLICIT
        heads = self._implicit if is_implicit else self._explicit
        end = heads.walk(data, start, found)
        if end + 12 > len(data):
            raise Short(end + 12)
        # Long VRs keep two bytes free and then their length in four (PS3.5 7.1.2).
        if not is_implicit and data[end + 4 : end + 6] not in (b"OB", b"OW"):
            raise Declined
        offset = end + (8 if is_implicit else 12)
        learned.learn(data, Span(self._meta, START, start), Span(heads, start, end), offset)
        length = int.from_bytes(data[offset - 4 : offset], "little")
        return Walked(OWN, tuple(found.values()), offset, length)


class _Heads:
    """What is remembered of heads: the eight bytes of tag, VR and length before a value."""

    def __init__(self) -> None:
        #: (size, tag) of elements whose heads say it; no tag where nobody wants them
        self.known: dict[bytes, tuple[int, bytes]] = {}

    def walk(self, data: bytes, place: int, found: dict[bytes, bytes]) -> int:
        """Walk from ``place`` to the end, and put what is wanted into ``found``; return the end."""
        known = self.known
        while True:
            head = data[place : place + HEAD]
            size, tag = known.get(head) or self.entry(data, place, head)
            if tag:
                if tag == _END:
                    return place
                if tag == _CHARACTER_SET and found[tag]:
                    raise Declined  # two that contradict each other
                found[tag] = data[place + HEAD : place + size]
            place += size

    def entry(self, data: bytes, place: int, head: bytes) -> tuple[int, bytes]:
        """Return size and tag of the element at a place; no tag where nobody wants it.

        What follows from its head alone is remembered.

        Raises:
            Declined, Short: as ``Walker.walk``.

        """
        if (entry := self.known.get(head)) is not None:
            return entry
        if place + 12 > len(data):
            raise Short(place + 12)
        if self._is_end(int.from_bytes(head[:2], "little") << 16 | head[3] << 8 | head[2]):
            return self._remember(head, 0, _END)
        return self._classify(data, place, head)

    def _classify(self, data: bytes, place: int, head: bytes) -> tuple[int, bytes]:
        vr, tag = head[4:6], head[:4]
        if vr in LONG_VRS:
            if tag in KEYWORDS:
                raise Declined  # a sequence whose content is wanted
            return _without_character_set(data, place, size_of(data, place)), b""
        if vr not in SHORT_VRS or (tag in KEYWORDS and vr not in _VRS[tag]):
            raise Declined
        return self._remember(head, size_of(data, place))

    def _remember(self, head: bytes, size: int, tag: bytes = b"") -> tuple[int, bytes]:
        if len(self.known) >= _REMEMBERED:
            self.known.clear()
        entry = self.known[head] = size, tag or (head[:4] if head[:4] in KEYWORDS else b"")
        return entry

    def _is_end(self, tag: int) -> bool:
        """Say whether a walk ends before an element, as it should."""
        if tag >> 16 <= _META_GROUP or (tag >= _FIRST_PIXELS and tag != _PIXEL_DATA):
            raise Declined
        return tag == _PIXEL_DATA


class _MetaHeads(_Heads):
    """Heads of the meta information: always explicit, and over where its group is."""

    def _is_end(self, tag: int) -> bool:
        return tag >> 16 != _META_GROUP


class _ImplicitHeads(_Heads):
    """Heads without VRs: the tag, and a length in four bytes."""

    def _classify(self, data: bytes, place: int, head: bytes) -> tuple[int, bytes]:
        size = implicit_size_of(data, place)
        # Letters in its place are the VR of a file that says of itself what is not so.
        if head[4:6].isalpha() or (head[:4] in KEYWORDS and not self._is_short(head[:4], size)):
            raise Declined
        if head[:4] in KEYWORDS or self._is_plain(head[:4]):
            return self._remember(head, size)
        return _without_character_set(data, place, size), b""

    @staticmethod
    def _is_short(tag: bytes, size: int) -> bool:
        """Say whether a wanted element is as it is with a VR: no sequence, 65535 bytes at most."""
        return b"SQ" not in _VRS[tag] and size < _LONGEST

    @staticmethod
    def _is_plain(tag: bytes) -> bool:
        """Say whether nothing can be nested in an element, whatever its length."""
        number = int.from_bytes(tag[:2], "little") << 16 | int.from_bytes(tag[2:], "little")
        try:
            return number >> 16 & 1 == 0 and dictionary_VR(number) in _PLAIN_VRS
        except KeyError:
            return False


def _without_character_set(data: bytes, place: int, size: int) -> int:
    """Return the size of an element in which others may be nested, but no encoding of its own.

    Only here may one lie: layouts hold nothing that was not walked through before.
    """
    if data.find(_CHARACTER_SET, place + 8, place + size) >= 0:
        raise Declined
    return size
