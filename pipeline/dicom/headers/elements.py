"""Tolerant access to data elements: what cannot be read is None or NaN, never an exception.

pydicom converts values when they are first asked for, so any access can raise; and where a
decimal string is no number it returns the string (dicom-dirt of the field, not a defect of it).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pydicom.dataset import Dataset

#: Longest text kept of one element (PS3.5 6.2: LO has 64 characters).
_TEXT_LENGTH = 64
#: Nothing we read is larger; infinities and 1e308 are faults and would overflow what follows.
_LARGEST_NUMBER = 1e12


def value_of(dataset: Dataset, keyword: str) -> Any:
    """Return the value of an element, or None where it is absent, empty or cannot be read."""
    try:
        value = dataset.get(keyword)
    except Exception:  # noqa: BLE001 - pydicom's converters raise whatever bad bytes make them
        return None
    return None if value is None or value == "" else value


def texts_of(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Return the values of a text element, printable and cut to 64 characters."""
    value = value_of(dataset, keyword)
    if value is None:
        return ()
    values: Iterable[Any] = (
        (value,) if isinstance(value, str | bytes) or not hasattr(value, "__iter__") else value
    )
    return tuple(_printable(str(item)) for item in values)


def text_of(dataset: Dataset, keyword: str) -> str:
    """Return a text element as one printable line, empty where it is absent."""
    return _printable("\\".join(texts_of(dataset, keyword)))


def numbers_of(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Return ``count`` numbers, None where the element is absent or empty.

    A wrong number of values, or one that is no number, comes back as NaN: present but invalid.
    """
    try:
        present = keyword in dataset and not dataset[keyword].is_empty
    except Exception:  # noqa: BLE001 - see value_of
        present = True
    if not present:
        return None
    value = value_of(dataset, keyword)
    if value is None:
        return (math.nan,) * count
    values = (value,) if isinstance(value, str | bytes) or not hasattr(value, "__iter__") else value
    numbers = tuple(_number(item) for item in values)
    return numbers if len(numbers) == count else (math.nan,) * count


def number_of(dataset: Dataset, keyword: str) -> float | None:
    """Return one number, None where it is absent, NaN where it is present but invalid."""
    numbers = numbers_of(dataset, keyword, 1)
    return None if numbers is None else numbers[0]


def integer_of(dataset: Dataset, keyword: str) -> int | None:
    """Return a whole number, or None where the element holds none."""
    number = number_of(dataset, keyword)
    if number is None or not math.isfinite(number) or number != int(number):
        return None
    return int(number)


def _number(value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return number if abs(number) <= _LARGEST_NUMBER else math.nan


def _printable(text: str) -> str:
    return "".join(c for c in text if c.isprintable()).strip()[:_TEXT_LENGTH]
