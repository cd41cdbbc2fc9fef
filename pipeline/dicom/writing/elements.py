"""Data elements as bytes, Explicit VR Little Endian (PS3.5 7.1.2)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Final

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sr.coding import Code as DicomCode

from pipeline.dicom.writing.source_images import decimal_string
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason

_LONG: Final = frozenset({"OB", "OF", "OW", "SQ", "UT"})
_ITEM: Final = 0xFFFEE000
_SEQUENCE_END: Final = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
#: the most a length field of 32 bits can state, even (PS3.5 7.1.1)
_LONGEST: Final = 0xFFFFFFFE


def head(tag: int, vr: str, length: int) -> bytes:
    """Return tag, VR and length of an element whose value of ``length`` bytes follows."""
    group, number = tag >> 16, tag & 0xFFFF
    if vr in _LONG:
        return struct.pack("<HH2sHI", group, number, vr.encode(), 0, length)
    return struct.pack("<HH2sH", group, number, vr.encode(), length)


def text(tag: int, vr: str, value: str) -> bytes:
    """Return an element of text; a UID is padded with a null, anything else with a space."""
    data = value.encode()
    if len(data) % 2:
        data += b"\0" if vr == "UI" else b" "
    return head(tag, vr, len(data)) + data


def decimals(tag: int, values: Sequence[float]) -> bytes:
    """Return an element of decimal strings (VR DS)."""
    return text(tag, "DS", "\\".join(decimal_string(value) for value in values))


def unsigned(tag: int, vr: str, *values: int) -> bytes:
    """Return an element of unsigned numbers, VR US or UL."""
    data = struct.pack(f"<{len(values)}{'H' if vr == 'US' else 'I'}", *values)
    return head(tag, vr, len(data)) + data


def double(tag: int, value: float) -> bytes:
    """Return an element of one number of 64 bits (VR FD)."""
    return head(tag, "FD", 8) + struct.pack("<d", value)


def item(*elements: bytes) -> bytes:
    """Return an item of a sequence; the elements come in the order of their tags."""
    return _item(b"".join(elements))


def sequence(tag: int, *items: bytes) -> bytes:
    """Return a sequence of stated length."""
    content = b"".join(items)
    return head(tag, "SQ", len(content)) + content


def code(tag: int, concept: DicomCode) -> bytes:
    """Return a code sequence of one item (PS3.3 8.8)."""
    return sequence(
        tag,
        item(
            text(0x00080100, "SH", concept.value),
            text(0x00080102, "SH", concept.scheme_designator),
            text(0x00080104, "LO", concept.meaning),
        ),
    )


def of_dataset(dataset: Dataset) -> bytes:
    """Return the elements of a data set as pydicom writes them, text in UTF-8."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    write_dataset(buffer, dataset, parent_encoding="ISO_IR 192")
    return buffer.getvalue()


def encapsulated(frames: Iterable[bytes]) -> bytes:
    """Return Pixel Data of compressed frames, one fragment each, with offsets (PS3.5 A.4)."""
    fragments = [_item(frame) for frame in frames]
    offsets, place = [], 0
    for fragment in fragments:
        offsets.append(place)
        place += len(fragment)
    table = _item(struct.pack(f"<{len(offsets)}I", *offsets))
    undefined = 0xFFFFFFFF
    return b"".join([head(0x7FE00010, "OB", undefined), table, *fragments, _SEQUENCE_END])


def native(tag: int, vr: str, parts: Sequence[memoryview]) -> list[bytes | memoryview]:
    """Return an element of uncompressed pixels: its head, ``parts``, a byte to make it even.

    Raises:
        StudyRejected: more than one element can hold.

    """
    length = sum(part.nbytes for part in parts)
    padding = length % 2
    if length + padding > _LONGEST:
        sentence = "the result is larger than one DICOM object can be"
        raise StudyRejected(sentence, Reason.PIXELS_TOO_LARGE)
    return [head(tag, vr, length + padding), *parts, bytes(padding)]


def _item(content: bytes) -> bytes:
    return struct.pack("<HHI", _ITEM >> 16, _ITEM & 0xFFFF, len(content)) + content
