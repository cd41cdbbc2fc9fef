"""What a header states: raw values by keyword, and what they mean.

One conversion for both ways of finding the values, so that they cannot disagree. What is no
value of its kind is NaN or None, never an exception: a header must not fail on an element that
nobody may ever look at.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Mapping
from typing import Final, TypeAlias

from pydicom.charset import convert_encodings, decode_bytes

#: (VR, value as little endian bytes)
Raw: TypeAlias = tuple[str, bytes]

#: Longest text kept of one element (PS3.5 6.2: LO has 64 characters).
_TEXT_LENGTH: Final = 64
#: Nothing we read is larger; infinities and 1e308 are faults and would overflow what follows.
_LARGEST_NUMBER: Final = 1e12
#: Decoded under the character set of the data set (PS3.5 6.1.2.3); the others are ASCII.
_CHARACTER_SET_VRS: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_BINARY: Final = {
    "US": "H",
    "SS": "h",
    "UL": "I",
    "SL": "i",
    "UV": "Q",
    "SV": "q",
    "FL": "f",
    "FD": "d",
    "AT": "I",
}
_BACKSLASH_AND_CONTROLS: Final = {0x09, 0x0A, 0x0C, 0x0D, 0x5C}
#: Values repeat within a series; this many different ones are remembered, a few MB at most.
_REMEMBERED: Final = 1 << 14
#: Longer values (a hostile header may hold 64 kB of them) are converted but not remembered.
_SHORT: Final = 256


class Stated:
    """The raw values of the wanted elements of one header. Empty values are as absent."""

    def __init__(self, values: Mapping[str, Raw]) -> None:
        self._values = values
        self._charset = values.get("SpecificCharacterSet", ("CS", b""))[1]

    def has(self, keyword: str) -> bool:
        """Say whether an element is there and not empty."""
        return bool(self._values.get(keyword, ("", b""))[1])

    def uid(self, keyword: str) -> str:
        """Return the characters of a UID without its padding (PS3.5 9.1), whatever they are."""
        return self._values.get(keyword, ("", b""))[1].rstrip(b"\0 ").decode("iso8859")

    def texts(self, keyword: str) -> tuple[str, ...]:
        """Return the values of an element as texts, printable and cut to 64 characters."""
        vr, raw = self._values.get(keyword, ("", b""))
        if not raw:
            return ()
        charset = self._charset if vr in _CHARACTER_SET_VRS else b""
        return (_texts if len(raw) <= _SHORT else _texts.__wrapped__)(vr, raw, charset)

    def text(self, keyword: str) -> str:
        """Return an element as one printable line, empty where it is absent."""
        return "\\".join(self.texts(keyword))[:_TEXT_LENGTH]

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Return ``count`` numbers, None where the element is absent or empty.

        A wrong number of values, or one that is no number, comes back as NaN: present but
        invalid.
        """
        vr, raw = self._values.get(keyword, ("", b""))
        if not raw:
            return None
        numbers = (_numbers if len(raw) <= _SHORT else _numbers.__wrapped__)(vr, raw)
        if numbers is None or len(numbers) == count:
            return numbers
        return (math.nan,) * count

    def number(self, keyword: str) -> float | None:
        """Return one number, None where it is absent, NaN where it is present but invalid."""
        numbers = self.numbers(keyword, 1)
        return None if numbers is None else numbers[0]

    def integer(self, keyword: str) -> int | None:
        """Return a whole number, or None where the element holds none."""
        number = self.number(keyword)
        if number is None or not math.isfinite(number) or number != int(number):
            return None
        return int(number)


@functools.lru_cache(_REMEMBERED)
def _texts(vr: str, raw: bytes, charset: bytes) -> tuple[str, ...]:
    if vr in _BINARY:
        count = len(raw) // struct.calcsize(_BINARY[vr])
        values = struct.unpack_from(f"<{count}{_BINARY[vr]}", raw)
        return tuple(str(value) for value in values)
    if vr not in _CHARACTER_SET_VRS or (raw.isascii() and b"\x1b" not in raw and not charset):
        text = raw.decode("iso8859")
    else:
        text = decode_bytes(raw, encodings_of(charset), _BACKSLASH_AND_CONTROLS)
    texts = tuple(_printable(value) for value in text.split("\\"))
    return texts if any(texts) else ()


@functools.lru_cache(_REMEMBERED)
def encodings_of(charset: bytes) -> list[str]:
    """Return Python's names of character sets.

    Raises:
        ValueError: a name that cannot be one.

    """
    names = [name.strip() for name in charset.decode("iso8859").rstrip("\0 ").split("\\")]
    return convert_encodings(names)


@functools.lru_cache(_REMEMBERED)
def _numbers(vr: str, raw: bytes) -> tuple[float, ...] | None:
    """Return the numbers of a value; None where it is blank."""
    if vr in _BINARY:
        count, rest = divmod(len(raw), struct.calcsize(_BINARY[vr]))
        if rest:
            return (math.nan,)
        return tuple(map(_bounded, struct.unpack(f"<{count}{_BINARY[vr]}", raw)))
    text = raw.strip(b" \0")
    return tuple(map(_decimal, text.split(b"\\"))) if text else None


def _decimal(text: bytes) -> float:
    # Python takes "1_000" for a number; DICOM does not.
    if b"_" in text:
        return math.nan
    try:
        return _bounded(float(text.strip(b" \0")))
    except ValueError:
        return math.nan


def _bounded(number: float) -> float:
    return float(number) if abs(number) <= _LARGEST_NUMBER else math.nan


def _printable(text: str) -> str:
    return "".join(c for c in text if c.isprintable()).strip()[:_TEXT_LENGTH]
