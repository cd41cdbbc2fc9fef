"""Strict access to the elements of a label object: what must be there is, or it is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipeline.dicom.headers.elements import integer_of, numbers_of, text_of, value_of
from pipeline.dicom.labels.refusal import invalid
from pipeline.results import Code


def items_of(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; none where it is absent or no sequence."""
    value = value_of(dataset, keyword)
    if value is None or isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        return []
    return [item for item in value if isinstance(item, Dataset)]


def item_of(dataset: Dataset, keyword: str) -> Dataset | None:
    """Return the first item of a sequence."""
    return next(iter(items_of(dataset, keyword)), None)


def codes_of(dataset: Dataset, *keywords: str) -> tuple[Code, ...]:
    """Return the coded concepts of sequences, those that state scheme and value."""
    found: list[Code] = []
    for item in (item for keyword in keywords for item in items_of(dataset, keyword)):
        code = code_of(item)
        if code is not None:
            found.append(code)
    return tuple(found)


def code_of(item: Dataset) -> Code | None:
    """Return the concept that one item of a code sequence holds (PS3.3 8.8)."""
    value = text_of(item, "CodeValue") or text_of(item, "LongCodeValue")
    scheme = text_of(item, "CodingSchemeDesignator")
    if not value or not scheme:
        return None
    return Code(scheme=scheme, value=value, meaning=text_of(item, "CodeMeaning"))


def vector_of(dataset: Dataset, keyword: str, count: int) -> NDArray[np.float64] | None:
    """Return finite numbers, None where the element is absent.

    Raises:
        StudyRejected: present, but not that many finite numbers.

    """
    numbers = numbers_of(dataset, keyword, count)
    if numbers is None:
        return None
    vector = np.array(numbers, np.float64)
    if not np.isfinite(vector).all():
        raise invalid(f"it states no valid {keyword}")
    return vector


def positive_of(dataset: Dataset, keyword: str, largest: int) -> int:
    """Return a whole number from 1 to ``largest``.

    Raises:
        StudyRejected: there is none.

    """
    number = integer_of(dataset, keyword)
    if number is None or not 1 <= number <= largest:
        raise invalid(f"it states no valid {keyword}")
    return number


def references_of(item: Dataset) -> list[tuple[str, int | None]]:
    """Return (SOPInstanceUID, frame) of the images an item refers to (PS3.3 table 10-3)."""
    uid = text_of(item, "ReferencedSOPInstanceUID")
    if not uid:
        return []
    frames: Any = value_of(item, "ReferencedFrameNumber")
    if frames is None:
        return [(uid, None)]
    several = [frames] if isinstance(frames, int | str) else list(frames)
    return [(uid, int(frame)) for frame in several]
