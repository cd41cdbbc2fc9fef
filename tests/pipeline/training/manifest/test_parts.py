"""Parts: no patient on two sides, and unlabelled cases only where they are learnt from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.training import manifest, recipe
from pipeline.training.faults import ManifestInvalid
from pipeline.training.manifest import Part
from pipeline.training.recipe import Recipe
from tests import quick_training
from tests.quick_training import write_manifest

RECIPE = recipe.check(quick_training.RESTORATION)
DRAWN = {manifest.assign(f"p{number}", RECIPE.split): f"p{number}" for number in range(30)}
TRAINED, HELD_OUT = DRAWN[Part.TRAINING], DRAWN[Part.HELD_OUT]
CHOSEN_BY = DRAWN[Part.VALIDATION]


def written(folder: Path, *cases: tuple[str, str]) -> Path:
    """Write a manifest of patients and splits, each case with an image of its own."""
    for number in range(len(cases)):
        np.save(folder / f"{number}.npy", np.full((4, 4), number, np.float32))
    rows = [(f"{number}.npy", "", who, split) for number, (who, split) in enumerate(cases)]
    return write_manifest(folder, rows)


@pytest.fixture
def takes_unlabelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recipe, "learns_from_unlabelled", property(lambda _: True))


def faults(path: Path) -> list[tuple[int, str]]:
    with pytest.raises(ManifestInvalid) as refused:
        manifest.freeze(path, RECIPE)
    return [(fault.row, fault.column) for fault in refused.value.faults]


def test_unlabelled_cases_are_refused_where_nothing_is_learnt_from_them(tmp_path: Path) -> None:
    path = written(tmp_path, ("a", "train"), ("b", "test"), ("c", "unlabelled"))
    assert faults(path) == [(3, "split")]


@pytest.mark.usefixtures("takes_unlabelled")
def test_unlabelled_cases_of_a_trained_patient_are_kept(tmp_path: Path) -> None:
    path = written(tmp_path, ("a", "train"), ("b", "test"), ("a", "unlabelled"))
    snapshot = manifest.freeze(path, RECIPE)
    assert snapshot.counts() == {"training": 1, "validation": 0, "held-out": 1, "unlabelled": 1}
    assert [case.row for case in snapshot.part(Part.UNLABELLED)] == [3]


@pytest.mark.usefixtures("takes_unlabelled")
def test_unlabelled_cases_of_a_judged_patient_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, ("a", "train"), ("b", "test"), ("b", "unlabelled"))
    assert faults(path) == [(2, "split"), (3, "split")]


@pytest.mark.usefixtures("takes_unlabelled")
def test_where_patients_are_drawn_their_unlabelled_cases_are_left_out_with_them(
    tmp_path: Path,
) -> None:
    marked = "unlabelled"
    path = written(
        tmp_path,
        (TRAINED, ""),
        (HELD_OUT, ""),
        (TRAINED, marked),
        (HELD_OUT, marked),
        ("nobody else", marked),
    )
    snapshot = manifest.freeze(path, RECIPE)
    assert {case.row: case.part for case in snapshot.cases} == {
        1: Part.TRAINING,
        2: Part.HELD_OUT,
        3: Part.UNLABELLED,
        5: Part.UNLABELLED,
    }
    assert (4, "split") in [(one.row, one.column) for one in snapshot.warnings]


def is_judged(patient_id: str) -> bool:
    return manifest.assign(patient_id, RECIPE.split) is Part.HELD_OUT


def placed(path: Path) -> dict[int, str]:
    """Return the parts of the cases by their rows."""
    return {case.row: str(case.part) for case in manifest.freeze(path, RECIPE).cases}


def test_an_added_case_goes_where_its_patient_is_and_else_to_training(tmp_path: Path) -> None:
    stated = [("a", "train"), ("b", "test"), ("c", "val")]
    added = [("b", "added"), ("c", "Added"), (HELD_OUT, "added"), (CHOSEN_BY, "added")]
    parts = placed(written(tmp_path, *stated, *added))
    assert list(dict(sorted(parts.items())).values())[3:] == [
        "held-out", "validation", "training", "training",
    ]  # fmt: skip


def test_where_patients_are_drawn_no_added_case_of_a_new_patient_is_held_out(
    tmp_path: Path,
) -> None:
    known = [(f"p{number}", "") for number in range(20)]
    before = placed(written(tmp_path, *known))
    added = [(f"p{number}", "added") for number in range(60)]
    path = written(tmp_path, *known, *added)
    after = placed(path)
    assert {row: part for row, part in after.items() if row <= 20} == before
    judged = {row for row, part in after.items() if part == "held-out"}
    assert {row for row in judged if row > 40} == set()
    # nobody moves: whoever is held out already has his later cases there
    assert {row - 20 for row in judged if row > 20} == {row for row in judged if row <= 20} != set()
    left_out = {one.row for one in manifest.freeze(path, RECIPE).warnings if one.row}
    drawn = {row for row in range(41, 81) if is_judged(f"p{row - 21}")}
    assert left_out == drawn != set()


@pytest.mark.usefixtures("takes_unlabelled")
@pytest.mark.parametrize(("splits", "part"), [(("train", "test"), "training"), (("", ""), None)])
def test_an_added_case_of_a_patient_without_labels_is_learnt_from_or_left_out(
    tmp_path: Path, splits: tuple[str, str], part: str | None
) -> None:
    other = next(f"p{n}" for n in range(99) if f"p{n}" != HELD_OUT and is_judged(f"p{n}"))
    cases = [(TRAINED, splits[0]), (other, splits[1])]
    path = written(tmp_path, *cases, (HELD_OUT, "unlabelled"), (HELD_OUT, "added"))
    parts = placed(path)
    assert (parts[3], parts.get(4)) == ("unlabelled", part)


def test_added_cases_alone_hold_nobody_out(tmp_path: Path) -> None:
    assert faults(written(tmp_path, (TRAINED, "added"), (HELD_OUT, "added"))) == [(0, "split")]


def test_85_a_patient_in_train_and_test_is_refused(tmp_path: Path) -> None:
    assert faults(written(tmp_path, ("a", "train"), ("a", "test"))) == [(1, "split"), (2, "split")]


def test_94_no_patient_is_refused(tmp_path: Path) -> None:
    assert faults(written(tmp_path)) == [(0, "manifest")]
    assert faults(written(tmp_path, ("", "train"), (" ", "test"))) == [
        (1, "patient_id"),
        (2, "patient_id"),
    ]


def test_94_one_patient_is_refused_and_one_held_out_is_said(tmp_path: Path) -> None:
    assert faults(written(tmp_path, ("a", ""), ("a", ""), ("a", ""))) == [(0, "split")]
    snapshot = manifest.freeze(written(tmp_path, ("a", "train"), ("b", "test")), RECIPE)
    assert [(one.row, one.column) for one in snapshot.warnings] == [(0, "split")]
