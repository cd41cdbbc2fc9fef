"""Palette colour lookup tables, plain and segmented (PS3.3 C.7.6.3.1.5, C.7.6.3.1.6, C.7.9.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipeline.dicom.headers.elements import value_of
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason

_COLOURS: Final = ("Red", "Green", "Blue")
_LARGEST: Final = 2**16
#: segments that an indirect one may point at in turn; the standard allows no indirect ones there
_MOST_SEGMENTS: Final = 2**16


@dataclass(frozen=True, kw_only=True)
class Palette:
    """``colours`` (entries, 3) uint8; entry 0 is of stored value ``first``."""

    colours: NDArray[np.uint8]
    first: int

    def apply(self, stored: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the colours of stored values, (..., 3): outside the table, its nearest end."""
        indices = np.clip(stored.astype(np.int64) - self.first, 0, len(self.colours) - 1)
        return self.colours[indices]


def palette_of(dataset: Dataset, *, is_signed: bool) -> Palette:
    """Return the palette of an image.

    Args:
        dataset: its header.
        is_signed: PixelRepresentation, which the first mapped value shares.

    Raises:
        StudyRejected: a table that is missing, contradicts its descriptor, or differs from the
            other colours' in size.

    """
    descriptors = [_descriptor(dataset, colour, is_signed=is_signed) for colour in _COLOURS]
    if len(set(descriptors)) != 1:
        raise _invalid("the descriptors of its palette differ between the colours")
    entries, first, bits = descriptors[0]
    columns = [_table(dataset, colour, entries, bits) for colour in _COLOURS]
    colours = np.stack(columns, axis=1)
    # the least of 16 bits are finer than a colour of 8
    eight = (colours >> (bits - 8)).astype(np.uint8)
    return Palette(colours=eight, first=first)


def _descriptor(dataset: Dataset, colour: str, *, is_signed: bool) -> tuple[int, int, int]:
    value = value_of(dataset, f"{colour}PaletteColorLookupTableDescriptor")
    try:
        entries, first, bits = (int(number) for number in value)
    except (TypeError, ValueError):
        raise _invalid(f"its palette lacks a valid descriptor of {colour.lower()}") from None
    entries &= 0xFFFF  # some writers use SS for all three numbers
    if is_signed and first > 0x7FFF:
        first -= _LARGEST
    if not is_signed:
        first &= 0xFFFF
    if bits not in (8, 16):
        raise _invalid(f"its palette states entries of {bits} bits")
    return entries or _LARGEST, first, bits


def _table(dataset: Dataset, colour: str, entries: int, bits: int) -> NDArray[np.uint16]:
    is_little = dataset.original_encoding[1] is not False
    plain = value_of(dataset, f"{colour}PaletteColorLookupTableData")
    if plain is not None:
        return _plain(_words(plain, is_little=is_little), entries, bits)
    segmented = value_of(dataset, f"Segmented{colour}PaletteColorLookupTableData")
    if segmented is None:
        raise _invalid(f"its palette has no table of {colour.lower()}")
    return _expanded(_words(segmented, is_little=is_little), entries, bits)


def _words(value: Any, *, is_little: bool) -> bytes:
    """Return the words of a table, little endian; 8-bit entries lie in words too."""
    if isinstance(value, bytes):
        even = value[: len(value) // 2 * 2]
        return value if is_little else np.frombuffer(even, ">u2").astype("<u2").tobytes()
    numbers = [value] if isinstance(value, int) else list(value)
    return np.array(numbers, np.int64).astype("<u2").tobytes()


def _plain(data: bytes, entries: int, bits: int) -> NDArray[np.uint16]:
    if bits == 8 and entries <= len(data) <= entries + 1:
        return np.frombuffer(data, np.uint8, entries).astype(np.uint16)
    # Entries of 8 bits in words of 16 are no valid table, but a common one.
    if len(data) != 2 * entries:
        raise _invalid(f"its palette holds {len(data)} bytes for {entries} entries of {bits} bits")
    return np.frombuffer(data, "<u2", entries) & np.uint16(0xFFFF if bits == 16 else 0xFF)


def _expanded(data: bytes, entries: int, bits: int) -> NDArray[np.uint16]:
    """Expand discrete, linear and indirect segments."""
    code = np.dtype("<u2" if bits == 16 else "u1")
    words = np.frombuffer(data, code, len(data) // code.itemsize).astype(np.int64)
    out: list[int] = []
    place, segments = 0, 0
    while place < len(words) and len(out) < entries:
        segments += 1
        if words[place] == 2:
            count, target = _indirect(words, place, bits)
            for _ in range(count):
                target = _segment(words, target, out, entries)
            place += 2 + 32 // bits
        else:
            place = _segment(words, place, out, entries)
        if segments > _MOST_SEGMENTS:
            raise _invalid("its palette has too many segments")
    if len(out) != entries:
        raise _invalid(f"the segments of its palette make {len(out)} of {entries} entries")
    return np.array(out, np.uint16)


def _indirect(words: NDArray[np.int64], place: int, bits: int) -> tuple[int, int]:
    """Return how many segments to copy, and the place of the first."""
    parts = words[place + 1 : place + 2 + 32 // bits]
    if len(parts) < 1 + 32 // bits:
        raise _invalid("a segment of its palette ends early")
    offset = sum(int(part) << (bits * index) for index, part in enumerate(parts[1:]))
    target = offset // (bits // 8)
    if offset % (bits // 8) or target >= place:
        raise _invalid("a segment of its palette points nowhere")
    return int(parts[0]), target


def _segment(words: NDArray[np.int64], place: int, out: list[int], entries: int) -> int:
    """Append one discrete or linear segment; return the place after it."""
    if place + 2 > len(words):
        raise _invalid("a segment of its palette ends early")
    kind, length = int(words[place]), int(words[place + 1])
    values = words[place + 2 : place + 2 + (length if kind == 0 else 1)]
    if kind == 0 and len(values) == length > 0:
        out.extend(int(value) for value in values)
    elif kind == 1 and len(values) == 1 and out:
        steps = np.arange(1, length + 1) / max(1, length)
        line = out[-1] + (int(values[0]) - out[-1]) * steps
        out.extend(int(value) for value in np.rint(line))
    else:
        raise _invalid("a segment of its palette is of no known kind, empty or cut")
    if len(out) > entries:
        raise _invalid(f"the segments of its palette make more than {entries} entries")
    return place + 2 + len(values)


def _invalid(sentence: str) -> StudyRejected:
    return StudyRejected(sentence, Reason.PIXELS_PALETTE_INVALID)
