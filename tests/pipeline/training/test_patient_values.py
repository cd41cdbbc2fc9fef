"""What a manifest says of a patient is what a model reads from the header."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.dicom.patient import Patient
from pipeline.training.patient_values import stating, stating_all
from pipeline.volume import Channels, Image, Volume

ALL = {"age": 45.5, "sex": "F", "weight": 71.25, "size": 1.71}


def patient(image: Volume | Image) -> Patient:
    assert image.header is not None
    return Patient.of(image.header.template)


def volume() -> Volume:
    return Volume(stored=np.zeros((3, 4, 5), np.float32), affine=np.eye(4))


def test_every_value_comes_back_from_the_header() -> None:
    found = patient(stating(volume(), ALL, modality="MR"))
    assert (found.sex, found.weight, found.size) == ("F", 71.25, 1.71)
    assert found.age == pytest.approx(45.5)


@pytest.mark.parametrize("years", [0.02, 0.5, 2.25, 4.5, 17.0, 18.9, 60.0, 83.0, 99.0, 120.0])
def test_an_age_is_stated_in_the_finest_unit_that_holds_it(years: float) -> None:
    found = patient(stating(volume(), {"age": years}, modality="MR"))
    assert found.age == pytest.approx(years, abs=1 / 24)


def test_what_is_not_known_stays_as_the_header_says() -> None:
    first = stating(volume(), ALL, modality="MR")
    assert stating(first, {"age": None}, modality="CT") is first
    second = stating(first, {"weight": 80.0, "sex": None}, modality="CT")
    assert (patient(second).sex, patient(second).weight) == ("F", 80.0)
    assert second.header is not None
    assert second.header.modality == "MR"


def test_of_several_series_the_first_states_it() -> None:
    series = stating_all(Channels(volumes=(volume(), volume())), ALL, modality="MR")
    assert patient(series.volumes[0]).sex == "F"
    assert series.volumes[1].header is None


def test_a_single_image_states_it_too() -> None:
    image = Image(pixels=np.zeros((1, 4, 5), np.float32))
    assert patient(stating(image, ALL, modality="DX")).weight == 71.25
