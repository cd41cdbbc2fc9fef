"""SUV by body weight, in closed form for each way that vendors state it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydicom.dataset import Dataset

from pipeline.dicom.pixels import suv
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason

HALF_LIFE = 6586.2  # s, as written by scanners for F-18
DOSE = 3.5e8  # Bq
WEIGHT = 70.0  # kg
AT_INJECTION = WEIGHT * 1000 / DOSE


def _head(**changes: Any) -> Dataset:
    """A slice of a scan that began one hour after the injection."""
    head = Dataset()
    head.Units, head.DecayCorrection = "BQML", "START"
    head.CorrectedImage = ["NORM", "DTIM", "ATTN", "SCAT", "DECY", "RAN"]
    head.PatientWeight = WEIGHT
    head.SeriesDate = head.AcquisitionDate = "20260102"
    head.SeriesTime, head.AcquisitionTime = "130000", "130500"
    item = Dataset()
    item.RadiopharmaceuticalStartTime = "120000.00"
    item.RadionuclideTotalDose, item.RadionuclideHalfLife = DOSE, HALF_LIFE
    head.RadiopharmaceuticalInformationSequence = [item]
    for keyword, value in changes.items():
        target = item if keyword.startswith("Radio") else head
        if value is None:
            delattr(target, keyword)
        else:
            setattr(target, keyword, value)
    return head


def _after(seconds: float) -> float:
    return AT_INJECTION * 2 ** (seconds / HALF_LIFE)


def _one(head: Dataset) -> float:
    (factor,) = suv.factors([head])
    return factor


def test_values_corrected_to_the_start_of_the_scan() -> None:
    assert _one(_head()) == pytest.approx(_after(3600), rel=1e-9)


def test_values_corrected_to_the_administration_are_not_corrected_again() -> None:
    assert _one(_head(DecayCorrection="ADMIN")) == pytest.approx(AT_INJECTION, rel=1e-9)


def test_two_hours_of_decay_are_the_factor_that_a_second_correction_would_add() -> None:
    head = _head(RadiopharmaceuticalStartTime="105715.0")
    ratio = _one(head) / _one(_head(DecayCorrection="ADMIN"))
    assert ratio == pytest.approx(2 ** (7365 / HALF_LIFE), rel=1e-9)
    assert ratio > 2


def test_a_series_time_that_was_rewritten_is_not_used_where_ge_kept_the_scan_time() -> None:
    head = _head(SeriesTime="170000")
    block = head.private_block(0x0009, "GEMS_PETD_01", create=True)
    block.add_new(0x0D, "DT", "20260102130000.00")
    assert _one(head) == pytest.approx(_after(3600), rel=1e-9)


def test_an_element_of_another_private_creator_is_not_the_scan_time() -> None:
    head = _head(SeriesTime="170000")
    block = head.private_block(0x0009, "SOMEBODY ELSE", create=True)
    block.add_new(0x0D, "DT", "20260102130000.00")
    _refused(head, "FrameReferenceTime")


def test_a_rewritten_series_time_is_found_again_from_the_frame_reference_times() -> None:
    decay, duration = math.log(2) / HALF_LIFE, 240.0
    average = math.log(decay * duration / (1 - math.exp(-decay * duration))) / decay
    heads = [
        _head(
            SeriesTime="170000",
            AcquisitionTime=f"13{minute:02}00",
            ActualFrameDuration=duration * 1000,
            FrameReferenceTime=(minute * 60 + average) * 1000,
        )
        for minute in (0, 4, 8)
    ]
    for factor in suv.factors(heads):
        assert factor == pytest.approx(_after(3600), rel=1e-6)


def test_an_injection_before_midnight_is_of_the_day_before() -> None:
    head = _head(
        SeriesTime="003000", AcquisitionTime="003500", RadiopharmaceuticalStartTime="233000"
    )
    assert _one(head) == pytest.approx(_after(3600), rel=1e-9)


def test_a_stated_date_and_time_of_injection_goes_before_the_time_alone() -> None:
    head = _head(RadiopharmaceuticalStartDateTime="20260102123000.00")
    assert _one(head) == pytest.approx(_after(1800), rel=1e-9)


def test_a_stated_zone_is_turned_into_that_of_the_header() -> None:
    head = _head(
        RadiopharmaceuticalStartDateTime="20260102110000+0000", TimezoneOffsetFromUTC="+0100"
    )
    assert _one(head) == pytest.approx(_after(3600), rel=1e-9)


def _philips(head: Dataset, **elements: str) -> Dataset:
    block = head.private_block(0x7053, "Philips PET Private Group", create=True)
    for name, value in elements.items():
        block.add_new(int(name.removeprefix("x"), 16), "DS", value)
    return head


def test_counts_of_philips_use_its_suv_scale() -> None:
    head = _philips(_head(Units="CNTS"), x00="0.000551", x09="2.5")
    assert _one(head) == pytest.approx(0.000551)


def test_counts_of_philips_without_a_suv_scale_use_its_activity_scale() -> None:
    head = _philips(_head(Units="CNTS"), x00="0", x09="2.5")
    assert _one(head) == pytest.approx(2.5 * _after(3600), rel=1e-9)


def test_values_that_are_suv_stay_as_they_are() -> None:
    assert _one(_head(Units="GML", RadionuclideTotalDose=None)) == 1.0


def _refused(head: Dataset, word: str) -> None:
    with pytest.raises(StudyRejected) as refused:
        suv.factors([head])
    assert refused.value.reason is Reason.PIXELS_SUV_UNAVAILABLE
    assert word in refused.value.sentence


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"PatientWeight": None}, "PatientWeight"),
        ({"PatientWeight": 0}, "PatientWeight"),
        ({"PatientWeight": 70000}, "PatientWeight"),
        ({"RadionuclideTotalDose": None}, "RadionuclideTotalDose"),
        ({"RadionuclideTotalDose": 350}, "RadionuclideTotalDose"),
        ({"RadionuclideHalfLife": None}, "RadionuclideHalfLife"),
        ({"RadionuclideHalfLife": 0}, "RadionuclideHalfLife"),
        ({"RadiopharmaceuticalStartTime": None}, "RadiopharmaceuticalStartTime"),
        ({"RadiopharmaceuticalStartTime": "noon"}, "RadiopharmaceuticalStartTime"),
        ({"RadiopharmaceuticalStartDateTime": "20251201120000"}, "between injection and scan"),
        ({"RadiopharmaceuticalStartDateTime": "20260102150000"}, "between injection and scan"),
        ({"RadiopharmaceuticalInformationSequence": None}, "RadiopharmaceuticalInformation"),
        ({"CorrectedImage": ["ATTN"]}, "DECY"),
        ({"CorrectedImage": ["DECY"]}, "ATTN"),
        ({"CorrectedImage": None}, "ATTN"),
        ({"DecayCorrection": "NONE"}, "DecayCorrection"),
        ({"Units": "PROPCPS"}, "Units"),
        ({"Units": "CNTS"}, "(7053,1000)"),
        ({"Units": "GML", "SUVType": "LBM"}, "SUVType"),
        ({"SeriesTime": None}, "SeriesTime"),
        ({"AcquisitionDate": None}, "AcquisitionDate"),
        ({"SeriesTime": "235959"}, "FrameReferenceTime"),
    ],
)
def test_what_is_missing_or_contradicts_is_named(changes: dict[str, Any], word: str) -> None:
    head = _head()
    for keyword, value in changes.items():
        is_of_item = keyword in ("RadionuclideTotalDose", "RadionuclideHalfLife") or (
            keyword.startswith("RadiopharmaceuticalStart")
        )
        target = head.RadiopharmaceuticalInformationSequence[0] if is_of_item else head
        if value is None:
            delattr(target, keyword)
        else:
            setattr(target, keyword, value)
    _refused(head, word)


def test_slices_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(StudyRejected, match="PatientWeight"):
        suv.factors([_head(), _head(PatientWeight=71)])


@pytest.mark.parametrize(
    ("units", "unit"), [("BQML", "Bq/mL"), ("CNTS", "{counts}"), ("GML", "g/mL"), ("ODD", "")]
)
def test_the_stated_unit_is_told_in_ucum(units: str, unit: str) -> None:
    assert suv.stated_unit(units) == unit
