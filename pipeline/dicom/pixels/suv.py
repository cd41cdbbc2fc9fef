"""PET values as standardised uptake by body weight (PS3.3 C.8.9.1, QIBA's vendor-neutral way).

SUV = activity concentration (Bq/mL) x body weight (g) / dose (Bq), the dose decayed to the time
that the values are corrected to. Nothing is guessed: what is missing, or contradicts something
else, refuses the SUV and is named. A half-life comes from the header or not at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import (
    EnhancedPETImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
    PositronEmissionTomographyImageStorage,
)

from pipeline.dicom.headers.elements import number_of, text_of, texts_of, value_of
from pipeline.dicom.pixels.pet_times import Acquisition, injected_at, scan_start
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason

_ENHANCED: Final = (EnhancedPETImageStorage, LegacyConvertedEnhancedPETImageStorage)
#: {SUVbw}g/mL of UCUM
UNIT: Final = "g/mL"
#: Units of PS3.3 C.8.9.1.1.3 in UCUM
_STATED: Final = {
    "BQML": "Bq/mL",
    "CNTS": "{counts}",
    "GML": "g/mL",
    "CPS": "{counts}/s",
    "PROPCNTS": "{propcounts}",
    "PROPCPS": "{propcounts}/s",
    "PCNT": "%",
    "CM2": "cm2",
    "CM2ML": "cm2/mL",
    "NONE": "1",
    "1CM": "/cm",
    "MGMINML": "mg/min/mL",
    "UMOLMINML": "umol/min/mL",
    "MLMING": "mL/min/g",
    "MLG": "mL/g",
    "UMOLML": "umol/mL",
    "MLMINML": "mL/min/mL",
    "MLML": "mL/mL",
}
_PHILIPS: Final = (0x7053, "Philips PET Private Group")
_SUV_SCALE, _ACTIVITY_SCALE = 0x00, 0x09
#: Bq; a dose outside was written in another unit
_LEAST_DOSE, _GREATEST_DOSE = 1e5, 1e11
_HEAVIEST_KG: Final = 650.0
#: After so many half-lives nothing is left to measure.
_MOST_HALF_LIVES: Final = 12.0


def is_pet(sop_class_uid: str) -> bool:
    """Say whether a SOP class holds PET images."""
    return sop_class_uid == PositronEmissionTomographyImageStorage or is_enhanced(sop_class_uid)


def is_enhanced(sop_class_uid: str) -> bool:
    """Say whether a SOP class keeps what SUV needs in functional groups, which are not read."""
    return sop_class_uid in _ENHANCED


def stated_unit(units: str) -> str:
    """Return the unit (UCUM) of a stated Units (0054,1001); empty where it is not known."""
    return _STATED.get(units, "")


def factors(heads: Sequence[Dataset]) -> tuple[float, ...]:
    """Return what the rescaled values of each slice are multiplied with to be SUV.

    Args:
        heads: the headers of all slices of one series.

    Raises:
        StudyRejected: ``pixels.suv_unavailable``; the sentence names what is missing or wrong.

    """
    units = _same(heads, "Units")
    if units == "GML":
        if _same(heads, "SUVType") not in ("", "BW"):
            raise _unavailable("its SUVType is not by body weight")
        return (1.0,) * len(heads)
    for keyword in ("ATTN", "DECY"):
        if not all(keyword in texts_of(head, "CorrectedImage") for head in heads):
            raise _unavailable(f"its CorrectedImage lacks {keyword}")
    if units == "CNTS":
        return _of_counts(heads)
    if units != "BQML":
        raise _unavailable("its Units are neither BQML, CNTS nor GML")
    return (_per_becquerel(heads),) * len(heads)


def _of_counts(heads: Sequence[Dataset]) -> tuple[float, ...]:
    """Use the scales that Philips keeps in private elements."""
    to_suv = [_private_number(head, *_PHILIPS, _SUV_SCALE) for head in heads]
    if all(scale is not None for scale in to_suv):
        return tuple(float(scale or 0) for scale in to_suv)
    to_activity = [_private_number(head, *_PHILIPS, _ACTIVITY_SCALE) for head in heads]
    if any(scale is None for scale in to_activity):
        sentence = "its Units are CNTS and it lacks the private elements (7053,1000) and"
        raise _unavailable(f"{sentence} (7053,1009) of Philips")
    per_becquerel = _per_becquerel(heads)
    return tuple(float(scale or 0) * per_becquerel for scale in to_activity)


@dataclass(frozen=True, kw_only=True)
class _Dose:
    weight_kg: float
    becquerel: float
    half_life_s: float


def _per_becquerel(heads: Sequence[Dataset]) -> float:
    """Return grams per decayed becquerel of dose."""
    correction = _same(heads, "DecayCorrection")
    doses = {_dose(head) for head in heads}
    if len(doses) != 1:
        raise _unavailable("its slices state different PatientWeight, dose or half-life")
    dose = doses.pop()
    if correction == "ADMIN":
        return dose.weight_kg * 1000 / dose.becquerel
    if correction != "START":
        raise _unavailable("its DecayCorrection is neither START nor ADMIN")
    start = scan_start([Acquisition.of(head) for head in heads], dose.half_life_s)
    passed = start - injected_at(_radiopharmaceutical(heads[0]), heads[0], start)
    if not timedelta(0) <= passed <= timedelta(seconds=_MOST_HALF_LIVES * dose.half_life_s):
        raise _unavailable("the time between injection and scan is negative or too long")
    decayed = dose.becquerel * math.exp2(-passed.total_seconds() / dose.half_life_s)
    return dose.weight_kg * 1000 / decayed


def _dose(head: Dataset) -> _Dose:
    item = _radiopharmaceutical(head)
    weight = _positive(head, "PatientWeight", 0, _HEAVIEST_KG)
    dose = _positive(item, "RadionuclideTotalDose", _LEAST_DOSE, _GREATEST_DOSE)
    half_life = _positive(item, "RadionuclideHalfLife", 1, 1e8)
    return _Dose(weight_kg=weight, becquerel=dose, half_life_s=half_life)


def _radiopharmaceutical(head: Dataset) -> Dataset:
    items = value_of(head, "RadiopharmaceuticalInformationSequence")
    if items is None or len(items) != 1:
        raise _unavailable("it lacks one RadiopharmaceuticalInformationSequence item")
    item: Dataset = items[0]
    return item


def _positive(dataset: Dataset, keyword: str, least: float, greatest: float) -> float:
    number = number_of(dataset, keyword)
    if number is None:
        raise _unavailable(f"it states no {keyword}")
    if not (least <= number <= greatest and number > 0):
        raise _unavailable(f"its {keyword} is no possible value in its unit")
    return number


def _same(heads: Sequence[Dataset], keyword: str) -> str:
    stated = {text_of(head, keyword).upper() for head in heads}
    if len(stated) != 1:
        raise _unavailable(f"its slices state different {keyword}")
    return stated.pop()


def _private_number(head: Dataset, group: int, creator: str, element: int) -> float | None:
    """Return a positive number of a private block, None where the block or number is absent."""
    try:
        value = float(head.private_block(group, creator)[element].value)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return value if math.isfinite(value) and value > 0 else None


def _unavailable(sentence: str) -> StudyRejected:
    return StudyRejected(f"no SUV: {sentence}", Reason.PIXELS_SUV_UNAVAILABLE)
