"""PET series become volumes in SUV, or in what they state where an analysis asks for that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import PositronEmissionTomographyImageStorage

from pipeline.dicom.reading import read
from pipeline.errors import StudyRejected
from pipeline.policies import Policies
from pipeline.reasons import Reason
from pipeline.volume import Volume
from tests.pipeline.dicom import made_series as series

WEIGHT, DOSE, HALF_LIFE = 80.0, 4.0e8, 6588.0
#: one half-life after the injection
FACTOR = WEIGHT * 1000 / (DOSE / 2)


def _slice(number: int) -> Dataset:
    one = series.instance(number)
    one.SOPClassUID, one.Modality = PositronEmissionTomographyImageStorage, "PT"
    one.Units, one.DecayCorrection = "BQML", "START"
    one.CorrectedImage, one.PatientWeight = ["ATTN", "DECY"], WEIGHT
    one.SeriesDate = one.AcquisitionDate = "20260102"
    one.SeriesTime, one.AcquisitionTime = "134948", f"1350{number:02}"
    item = Dataset()
    item.RadiopharmaceuticalStartTime = "120000"
    item.RadionuclideTotalDose, item.RadionuclideHalfLife = DOSE, HALF_LIFE
    one.RadiopharmaceuticalInformationSequence = [item]
    one.RescaleSlope, one.RescaleIntercept = 2 + number, 0
    return series.with_meta(one)


def _read(folder: Path, slices: list[Dataset], policies: Policies) -> Volume:
    folder = series.write(folder, slices)
    volume = read(series.files_of(folder, series.only_series(folder)), policies=policies)
    assert isinstance(volume, Volume)
    return volume


def test_a_pet_series_is_read_in_suv(tmp_path: Path) -> None:
    volume = _read(tmp_path, [_slice(number) for number in range(3)], Policies())
    expected = np.stack([series.pixels(n) * (2.0 + n) * FACTOR for n in range(3)])
    np.testing.assert_allclose(volume.values(), expected, rtol=1e-3)
    assert volume.unit == "g/mL"


def test_a_pet_series_is_read_as_stated_where_asked(tmp_path: Path) -> None:
    volume = _read(tmp_path, [_slice(number) for number in range(3)], Policies(pet="stated"))
    expected = np.stack([series.pixels(n) * (2.0 + n) for n in range(3)])
    np.testing.assert_allclose(volume.values(), expected, rtol=1e-6)
    assert volume.unit == "Bq/mL"


def test_a_pet_series_without_a_dose_is_refused_and_says_so(tmp_path: Path) -> None:
    slices = [_slice(number) for number in range(3)]
    for one in slices:
        del one.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose
    with pytest.raises(StudyRejected) as refused:
        _read(tmp_path, slices, Policies())
    assert refused.value.reason is Reason.PIXELS_SUV_UNAVAILABLE
    assert "RadionuclideTotalDose" in refused.value.sentence
