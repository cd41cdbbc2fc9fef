"""Rows as they are written: columns, lists and sections, and words that are no names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.training import recipe
from pipeline.training.faults import ManifestInvalid
from pipeline.training.manifest import Part, joining, rows
from pipeline.training.manifest.rows import Row
from tests import quick_training

RECIPE = recipe.check(quick_training.CLASSIFICATION)


def read(folder: Path, text: str, name: str = "cases.csv") -> list[Row]:
    (folder / name).write_text(text)
    return rows.read(folder / name, RECIPE)


def faults(folder: Path, text: str) -> list[tuple[int, str]]:
    with pytest.raises(ManifestInvalid) as refused:
        read(folder, text)
    return [(fault.row, fault.column) for fault in refused.value.faults]


def wrong(row: Row) -> set[str]:
    return {fault.column for fault in row.faults}


def test_further_images_stand_in_numbered_columns_and_may_be_missing(tmp_path: Path) -> None:
    text = "image,label,patient_id,image10,image2\na,dark,p,k,b\na,dark,p,,b\na,dark,p,,\n"
    assert [row.images for row in read(tmp_path, text)] == [
        ("a", "b", "k"),
        ("a", "b", ""),
        ("a", "", ""),
    ]


def test_a_datalist_may_list_images_and_classes(tmp_path: Path) -> None:
    case = {"image": ["t1", "t2"], "label": ["dark", "bright"], "patient_id": 7}
    (row,) = read(tmp_path, json.dumps({"training": [case]}), "cases.json")
    assert (row.images, row.label, row.patient_id) == (("t1", "t2"), "dark|bright", "7")


def test_a_column_of_0_and_1_for_each_class_is_a_label(tmp_path: Path) -> None:
    text = "image,patient_id,dark,bright\na,p,0,1\nb,p,1,1\nc,p,0,0\nd,p,0,yes\n"
    assert [row.label for row in read(tmp_path, text)] == ["bright", "dark|bright", "-", ""]


def test_rows_that_were_added_to_those_with_a_column_for_each_class_state_a_label(
    tmp_path: Path,
) -> None:
    base = tmp_path / "base.csv"
    base.write_text("image,patient_id,dark,bright\na,p,0,1\nb,p,0,0\n")
    added = [{"image": "/c", "label": "dark|bright", "patient_id": "q"}]
    found = read(tmp_path, joining.joined(base, added))
    assert [row.label for row in found] == ["bright", "-", "dark|bright"]


def test_values_of_the_patient_are_read_in_the_units_of_headers(tmp_path: Path) -> None:
    text = (
        "image,label,patient_id,age,sex,weight,size\na,dark,p,006M,female,7.5,0.65\na,dark,p,,,,\n"
    )
    first, second = read(tmp_path, text)
    assert first.values == {"age": 0.5, "sex": "F", "weight": 7.5, "size": 0.65}
    assert dict(first.groups) == {"age": "0-17", "sex": "female"}
    assert second.values == dict.fromkeys(["age", "sex", "weight", "size"])


@pytest.mark.parametrize("cell", ["0", "-3", "nan", "inf", "heavy"])
def test_a_value_that_cannot_be_is_a_fault_of_its_row(tmp_path: Path, cell: str) -> None:
    (row,) = read(tmp_path, f"image,label,patient_id,weight\na,dark,p,{cell}\n")
    assert wrong(row) == {"weight"}


def test_92_a_formula_in_any_name_is_refused(tmp_path: Path) -> None:
    formula = '"=HYPERLINK(""http://x"",""y"")"'
    for column in ("image", "label", "patient_id", "site"):
        cells = {"image": "a", "label": "dark", "patient_id": "p", "site": "s"} | {column: formula}
        (row,) = read(tmp_path, ",".join(cells) + "\n" + ",".join(cells.values()) + "\n")
        assert wrong(row) == {column}


@pytest.mark.parametrize("word", ["@SUM(1)", "+1+cmd", "-2+3", "=1"])
def test_92_whatever_a_spreadsheet_would_run_is_a_formula(tmp_path: Path, word: str) -> None:
    (row,) = read(tmp_path, f"image,label,patient_id\na,dark,{word}\n")
    assert wrong(row) == {"patient_id"}


@pytest.mark.parametrize("word", ["-5", "+3.5", "P-17", "a@b", "x=1"])
def test_a_signed_number_or_a_sign_within_a_name_is_no_formula(tmp_path: Path, word: str) -> None:
    (row,) = read(tmp_path, f"image,label,patient_id\na,dark,{word}\n")
    assert not row.faults


def test_a_row_with_more_cells_than_columns_is_a_fault(tmp_path: Path) -> None:
    (row,) = read(tmp_path, "image,label,patient_id\na,dark,p,train\n")
    assert wrong(row) == {"row"}


def test_a_column_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    assert faults(tmp_path, "image,label,patient_id,label\na,dark,p,bright\n") == [(0, "label")]


def test_the_word_unlabelled_is_a_part(tmp_path: Path) -> None:
    (row,) = read(tmp_path, "image,label,patient_id,split\na,,p,Unlabelled\n")
    assert row.stated_part is Part.UNLABELLED


@pytest.mark.parametrize("text", ['{"training": 3}', '{"training": {"a": 1}}', "[" * 100_000])
def test_a_datalist_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ManifestInvalid):
        read(tmp_path, text, "cases.json")


@given(text=st.text(max_size=200))
def test_no_text_is_anything_but_rows_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name in ("wild.csv", "wild.json"):
        (folder / name).write_text(f"image,label,patient_id\n{text}", "utf-8", "surrogatepass")
        try:
            read_rows = rows.read(folder / name, RECIPE)
        except ManifestInvalid:
            continue
        assert read_rows


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=5), one, max_size=3),
    max_leaves=8,
)
_KEYS = st.sampled_from(["image", "label", "patient_id", "split", "age", "dark", "bright"])


@settings(max_examples=30)
@given(cases=st.lists(st.dictionaries(_KEYS, _JSON), min_size=1, max_size=3))
def test_no_datalist_is_anything_but_rows_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, cases: list[dict[str, Any]]
) -> None:
    file = tmp_path_factory.getbasetemp() / "wild-cases.json"
    file.write_text(json.dumps({"training": cases, "test": cases[:1]}))
    assert len(rows.read(file, RECIPE)) == len(cases) + 1
