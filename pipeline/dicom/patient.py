"""What a header says of the patient that models may read beside the image (PS3.3 C.7.2.2).

It is read from the header that came with the voxels and lives as long as they do: no log, report,
table or index holds it. What is absent, of another form or not plausible is not known; nothing is
guessed, so 175 is no size in metres.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Self

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.tag import Tag

Sex = Literal["F", "M", "O"]

_AGE: Final = re.compile(r"(\d{3})([DWMY])")
#: units of an age string (PS3.5 6.2, VR AS) in a year
_A_YEAR: Final[Mapping[str, float]] = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}
_SEXES: Final[Mapping[str, Sex]] = {"F": "F", "M": "M", "O": "O"}
#: nobody has been older, heavier or taller: years, kg, m
_OLDEST: Final = 125.0
_HEAVIEST: Final = 650.0
_TALLEST: Final = 2.8
_KEYWORDS: Final = ("PatientAge", "PatientSex", "PatientWeight", "PatientSize")


@dataclass(frozen=True, kw_only=True)
class Patient:
    """A person, as far as a header tells. None = not known."""

    #: PatientAge in years
    age: float | None = field(default=None, repr=False)
    #: PatientSex
    sex: Sex | None = field(default=None, repr=False)
    #: PatientWeight in kg
    weight: float | None = field(default=None, repr=False)
    #: PatientSize in m
    size: float | None = field(default=None, repr=False)

    @classmethod
    def of(cls, header: bytes) -> Self:
        """Read a header.

        Args:
            header: a DICOM file without pixels, as ``SourceHeader.template`` is; empty where there
                is none.

        """
        if not header:
            return cls()
        dataset = dcmread(io.BytesIO(header), force=True, specific_tags=list(_KEYWORDS))
        return cls(
            age=_age(_text(dataset, "PatientAge")),
            sex=_SEXES.get(_text(dataset, "PatientSex")),
            weight=_number(_text(dataset, "PatientWeight"), _HEAVIEST),
            size=_number(_text(dataset, "PatientSize"), _TALLEST),
        )


def _text(dataset: Dataset, keyword: str) -> str:
    """Return a value as it is stored: converters of pydicom's cite bad ones in warnings."""
    element = dataset.get_item(Tag(keyword))
    value = None if element is None else element.value
    return value.decode("ascii", "replace").strip(" \0") if isinstance(value, bytes) else ""


def _age(text: str) -> float | None:
    stated = _AGE.fullmatch(text)
    if stated is None:
        return None
    years = int(stated[1]) / _A_YEAR[stated[2]]
    return years if years <= _OLDEST else None


def _number(text: str, largest: float) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and 0 < number <= largest else None


def patient_id(content: bytes) -> str:
    """Return the PatientID of a DICOM file, empty where it has none: who a case is of."""
    stream = io.BytesIO(content)
    header = dcmread(stream, stop_before_pixels=True, specific_tags=["PatientID"], force=True)
    return str(header.get("PatientID") or "").strip()
