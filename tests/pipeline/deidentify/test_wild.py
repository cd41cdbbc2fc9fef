"""Whatever a data set holds, its copy is made or refused, and dates and texts keep their rules."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread, dcmwrite
from pydicom.datadict import DicomDictionary, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from pipeline.deidentify import dates
from pipeline.deidentify.dataset import Deidentifier
from pipeline.deidentify.identity import Identity, identity_of
from pipeline.deidentify.profile import Option
from tests.pipeline.deidentify.copies import KEY
from tests.pipeline.dicom import made_series

NAME = b"Wildermuth"
TAGS = [n for n in DicomDictionary if 0x0008 <= n >> 16 < 0x5000 and n & 0xFFFF]


def _raw(tag: int, vr: str, value: bytes) -> RawDataElement:
    return RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)  # noqa: FBT003


@st.composite
def wild(draw: st.DrawFn, depth: int = 0) -> Dataset:
    """Draw a data set of elements whose bytes are anything."""
    made = Dataset()
    for tag in draw(st.lists(st.sampled_from(TAGS), max_size=12)):
        vr = dictionary_VR(tag).split(" ")[0]
        if vr == "SQ":
            count = draw(st.integers(0, 2)) if depth < 3 else 0
            made.add_new(tag, "SQ", Sequence([draw(wild(depth + 1)) for _ in range(count)]))
        else:
            value = draw(st.one_of(st.binary(max_size=24), st.just(NAME), st.just(b"20200101")))
            made[Tag(tag)] = _raw(tag, vr, value + b" " * (len(value) % 2))
    return made


@settings(max_examples=40, deadline=None)
@given(source=wild(), chosen=st.sets(st.sampled_from(sorted(set(Option) - {Option.FULL_DATES}))))
def test_wild_data_sets_are_copied_without_the_name(source: Dataset, chosen: set[Option]) -> None:
    source.PatientName = NAME.decode() + "^Wilma"
    deidentifier = Deidentifier(key=KEY, options=frozenset(chosen), identity=identity_of(source))
    copy = deidentifier.copy(source)
    for element in made_series.instance(0).group_dataset(0x0008):
        copy[element.tag] = element
    made_series.with_meta(copy)
    buffer = io.BytesIO()
    try:
        dcmwrite(buffer, copy, enforce_file_format=True)
    except Exception:  # noqa: BLE001 - what cannot be written again is refused
        return
    assert NAME.lower() not in buffer.getvalue().lower()
    dcmread(io.BytesIO(buffer.getvalue()))


@given(st.dates(), st.integers(-4000, -1))
def test_dates_move_there_and_back(day: Any, shift: int) -> None:
    text = day.strftime("%Y%m%d").zfill(8)
    moved = dates.shifted_date(text, shift)
    if moved is not None:
        assert dates.shifted_date(moved, -shift) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20200301", "20200229"),
        ("2020.03.01", "20200229"),
        ("20201301", None),
        ("20200230", None),
        ("00010101", None),
        ("Wilma", None),
        ("", None),
    ],
)
def test_a_date_moves_by_days_of_the_calendar(text: str, expected: str | None) -> None:
    assert dates.shifted_date(text, -1) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20200301101112.123456-0500", "20200229101112.123456-0500"),
        ("2020030110", "2020022910"),
        ("202003", "202002"),
        ("2020", "2019"),
        ("20200301T10", None),
    ],
)
def test_a_date_time_keeps_what_follows_the_day(text: str, expected: str | None) -> None:
    assert dates.shifted_date_time(text, -1) == expected


def test_a_text_is_cleaned_of_people_dates_and_numbers() -> None:
    identity = Identity("x", frozenset({"muller", "anna", "ng"}), frozenset({"ab-12345"}))
    text = "CT Thorax Müller Anna 12.03.1970, AB-12345 a.b@c.de Dr. Who 3 mm 20200101 Ng singing"
    assert identity.cleaned(text) == "CT Thorax , 3 mm singing"
    assert identity.is_in("HeadMULLERscan")
    assert not identity.is_in("singing mangan")
    assert identity.is_in_bytes("Müller".encode("utf-16-le").replace(b"\xfc", b"u"))
