"""What is known of the patient of a case beside the images: age, sex, weight and size.

In the units in which the headers of DICOM series state them, for networks that read a table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from pipeline.training import groups
from pipeline.training.manifest.cases import Value


def read(fields: Mapping[str, Any]) -> tuple[dict[str, Value], dict[str, str]]:
    """Return the values of a row, and a sentence for each column that cannot be read.

    Args:
        fields: of the row, by column. A value is None where its cell is empty, and missing where
            there is no column of its name.

    """
    known: dict[str, Value] = {}
    faults = {}
    for column, value_of in COLUMNS.items():
        if column not in fields:
            continue
        word = str("" if fields[column] is None else fields[column]).strip()
        try:
            known[column] = value_of(word) if word else None
        except ValueError as error:
            faults[column] = str(error)
    return known, faults


def _sex(word: str) -> str:
    """Return F, M or O (PatientSex, PS3.3 C.7.1.1)."""
    return groups.sex(word)[0].upper()


def _positive(word: str) -> float:
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError("it is no number above 0")
    return number


#: age in years, sex, weight in kg, size in m
COLUMNS: Final[Mapping[str, Callable[[str], Value]]] = {
    "age": groups.years,
    "sex": _sex,
    "weight": _positive,
    "size": _positive,
}
