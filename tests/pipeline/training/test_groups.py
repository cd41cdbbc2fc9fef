"""Groups of cases, as manifests state them."""

from __future__ import annotations

import pytest

from pipeline.training import groups


def test_groups_are_read_from_the_columns_that_are_there() -> None:
    found, faults = groups.read(
        {"sex": " F ", "age": "47", "institution": "North", "manufacturer": "ACME", "site": ""}
    )
    assert found == (("age", "40-59"), ("sex", "female"), ("site", "North"), ("vendor", "ACME"))
    assert faults == {}
    assert groups.read({"image": "a.npy"}) == ((), {})


def test_numbers_are_read_as_words_are_and_null_is_not_stated() -> None:
    assert groups.read({"age": 0, "sex": None}) == ((("age", "0-17"),), {})
    assert groups.read({"age": 47}) == ((("age", "40-59"),), {})


@pytest.mark.parametrize(
    ("age", "band"),
    [
        ("0", "0-17"),
        ("17", "0-17"),
        ("18", "18-39"),
        ("045Y", "40-59"),
        ("008M", "0-17"),
        ("3d", "0-17"),
        ("79", "60-79"),
        ("80", "80+"),
    ],
)
def test_ages_become_bands(age: str, band: str) -> None:
    assert groups.read({"age": age})[0] == (("age", band),)


@pytest.mark.parametrize(
    ("column", "word"),
    [
        ("age", "old"),
        ("age", "-3"),
        ("age", "400"),
        ("sex", "x?"),
        ("site", "a\x07"),
        ("vendor", "v" * 65),
    ],
)
def test_what_cannot_be_read_is_a_fault_of_its_column(column: str, word: str) -> None:
    found, faults = groups.read({column: word})
    assert found == ()
    assert list(faults) == [column]
    assert word not in faults[column]
