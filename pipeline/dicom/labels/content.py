"""The content tree of a structured report (PS3.3 C.17.3), walked within bounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

from pydicom.dataset import Dataset

from pipeline.dicom.headers.elements import number_of, text_of
from pipeline.dicom.labels.elements import code_of, item_of, items_of
from pipeline.dicom.labels.limits import LabelLimits
from pipeline.dicom.labels.refusal import invalid
from pipeline.results import Code

#: scheme and value, with which concepts are compared
Key: TypeAlias = tuple[str, str]

MEASUREMENT_GROUP: Final = ("DCM", "125007")
QUALITATIVE_EVALUATIONS: Final = ("UMLS", "C0034375")
FINDING: Final = ("DCM", "121071")
TRACKING: Final = ("DCM", "112039")
#: what a code in a group says of the group rather than of the patient
CIRCUMSTANCES: Final = frozenset(
    {
        ("SCT", "276214006"),  # finding category
        ("SCT", "363698007"),  # finding site
        ("SRT", "G-C0E3"),
        ("SCT", "370129005"),  # measurement method
        ("SRT", "G-C036"),
        ("SCT", "272741003"),  # laterality
        ("SRT", "G-C171"),
        ("UMLS", "C2348792"),  # time point
    }
)
SITES: Final = frozenset({("SCT", "363698007"), ("SRT", "G-C0E3")})
_STRUCTURED: Final = frozenset({"CONTAINER"})


def containers(dataset: Dataset, limits: LabelLimits) -> Iterator[Dataset]:
    """Yield every measurement group and container of evaluations, in order of the report.

    Raises:
        StudyRejected: more items, or deeper ones, than are allowed.

    """
    waiting = [(item, 1) for item in reversed(items_of(dataset, "ContentSequence"))]
    count = 0
    while waiting:
        item, depth = waiting.pop()
        count += 1
        if count > limits.items or depth > limits.depth:
            raise invalid("it holds more content items, or deeper ones, than are allowed")
        if concept_of(item) in (MEASUREMENT_GROUP, QUALITATIVE_EVALUATIONS):
            yield item
        elif text_of(item, "ValueType") in _STRUCTURED:
            below = items_of(item, "ContentSequence")
            waiting.extend((child, depth + 1) for child in reversed(below))


def children_of(item: Dataset, limits: LabelLimits) -> list[Dataset]:
    """Return the items right below one.

    Raises:
        StudyRejected: more than are allowed.

    """
    below = items_of(item, "ContentSequence")
    if len(below) > limits.items:
        raise invalid("it holds more content items than are allowed")
    return below


def kind_of(item: Dataset) -> str:
    """Return the value type of an item."""
    return text_of(item, "ValueType").upper()


def concept_of(item: Dataset) -> Key | None:
    """Return scheme and value of the concept name of an item."""
    code = name_of(item)
    return None if code is None else (code.scheme, code.value)


def name_of(item: Dataset) -> Code | None:
    """Return the concept name of an item."""
    inner = item_of(item, "ConceptNameCodeSequence")
    return None if inner is None else code_of(inner)


def code_value(item: Dataset) -> Code | None:
    """Return what a CODE item states."""
    inner = item_of(item, "ConceptCodeSequence")
    return None if inner is None else code_of(inner)


def number_value(item: Dataset) -> tuple[float, str] | None:
    """Return what a NUM item states: (value, UCUM unit); NaN where it is no number."""
    inner = item_of(item, "MeasuredValueSequence")
    number = None if inner is None else number_of(inner, "NumericValue")
    if inner is None or number is None:
        return None
    unit = item_of(inner, "MeasurementUnitsCodeSequence")
    code = None if unit is None else code_of(unit)
    return number, "" if code is None else code.value
