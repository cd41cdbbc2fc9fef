"""What headers say of a patient is read in one unit each, or not known."""

from __future__ import annotations

import io
import warnings
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from pipeline.dicom.patient import Patient


def header(**elements: Any) -> bytes:
    dataset = Dataset()
    dataset.PatientName = "Canary^Carla"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return _encoded(dataset)


def _encoded(dataset: Dataset) -> bytes:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset)
    return buffer.getvalue()


def raw(age: bytes, weight: bytes) -> bytes:
    """Return a header with these very bytes, whatever they are."""
    placed = header(PatientAge="999Y", PatientWeight="1234567890.12345")
    assert len(age) == 4
    assert len(weight) == 16
    return placed.replace(b"999Y", age).replace(b"1234567890.12345", weight)


@pytest.mark.parametrize(
    ("stated", "years"),
    [("034Y", 34), ("000Y", 0), ("018M", 1.5), ("026W", 182 / 365.25), ("010D", 10 / 365.25)],
)
def test_an_age_is_in_years(stated: str, years: float) -> None:
    assert Patient.of(header(PatientAge=stated)).age == pytest.approx(years, abs=1e-12)


def test_sex_weight_and_size_are_as_stated() -> None:
    found = Patient.of(header(PatientSex="F", PatientWeight="71.5", PatientSize="1.68"))
    assert found == Patient(sex="F", weight=71.5, size=1.68)


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"PatientAge": "", "PatientSex": "", "PatientWeight": None, "PatientSize": None},
        {"PatientWeight": "0", "PatientSize": "0"},
        # centimetres, grams and other mistakes of the field
        {"PatientSize": "175", "PatientWeight": "71500", "PatientAge": "200Y"},
        {"PatientWeight": ["70", "80"]},
    ],
)
def test_what_is_absent_or_not_plausible_is_not_known(elements: dict[str, Any]) -> None:
    assert Patient.of(header(**elements)) == Patient()


def test_no_header_tells_nothing() -> None:
    assert Patient.of(b"") == Patient()


@given(age=st.binary(min_size=4, max_size=4), weight=st.binary(min_size=16, max_size=16))
def test_wild_bytes_are_a_number_within_bounds_or_not_known(age: bytes, weight: bytes) -> None:
    with warnings.catch_warnings():
        # a warning would show what it warns of
        warnings.simplefilter("error")
        found = Patient.of(raw(age, weight))
    assert found.age is None or 0 <= found.age <= 125
    assert found.weight is None or 0 < found.weight <= 650


def test_a_patient_is_not_shown_by_accident() -> None:
    assert repr(Patient.of(header(PatientAge="077Y", PatientSex="M"))) == "Patient()"
