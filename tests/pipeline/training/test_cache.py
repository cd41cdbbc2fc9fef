"""Prepared cases: found again by all that they come of, and by nothing else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.training import cache, classification, data, manifest, preparing, recipe, trimming
from pipeline.training.cache import Cache, Entry
from pipeline.training.manifest import Part, Snapshot
from pipeline.training.recipe import Recipe
from tests import quick_training

DOCUMENT = quick_training.CLASSIFICATION
RECIPE = recipe.check(DOCUMENT)
SHAPE = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
ENTRY = Entry(pixels=("0" * 64,), warnings=(("label", "one box was left out"),))
ARRAYS = {"image": np.arange(6.0), "class": np.asarray(1)}


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    folder = tmp_path / "source"
    folder.mkdir()
    return manifest.freeze(quick_training.write_images(folder), RECIPE)


def prepare(snapshot: Snapshot, kept: Cache, wanted: Recipe = RECIPE) -> data.Prepared:
    made = classification.preparation(wanted)
    return preparing.prepare(snapshot, wanted, made, kept, checkpoint=lambda: None)


def loaded(places: tuple[Path, ...]) -> list[Mapping[str, list[Any]]]:
    return [{name: one.tolist() for name, one in data.load(place).items()} for place in places]


def test_what_was_kept_is_found_with_what_was_noted(tmp_path: Path) -> None:
    kept = Cache(folder=tmp_path)
    assert kept.find("a") is None
    kept.keep("a", ARRAYS, ENTRY)
    assert kept.find("a") == ENTRY
    assert np.array_equal(data.load(kept.place("a"))["image"], ARRAYS["image"])


@pytest.mark.parametrize("harm", ["shorter", "gone", "no entry", "no JSON", "empty"])
def test_what_is_not_whole_is_not_kept_and_can_be_kept_again(tmp_path: Path, harm: str) -> None:
    kept = Cache(folder=tmp_path)
    kept.keep("a", ARRAYS, ENTRY)
    place = kept.place("a")
    match harm:
        case "shorter":
            (place / "image.npy").write_bytes(b"")
        case "gone":
            (place / "image.npy").unlink()
        case "no entry":
            (place / "entry.json").unlink()
        case "no JSON":
            (place / "entry.json").write_text("[]")
        case _:
            shutil.rmtree(place)
            place.mkdir()
    assert kept.find("a") is None
    kept.keep("a", ARRAYS, ENTRY)
    assert kept.find("a") == ENTRY


def test_a_second_training_reads_no_source(
    tmp_path: Path, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sources are gone: there is nothing that could be read."""
    shared = tmp_path / "shared"
    first = prepare(snapshot, Cache(folder=tmp_path / "first", shared=shared))
    expected = loaded(first.training)
    shutil.rmtree(snapshot.cases[0].image.parent)
    monkeypatch.delattr(data, "read_case")
    second = prepare(snapshot, Cache(folder=tmp_path / "second", shared=shared))
    assert loaded(second.training) == expected
    assert set(second.training).isdisjoint(first.training)


def test_a_second_epoch_reads_no_source(tmp_path: Path, snapshot: Snapshot) -> None:
    import torch

    prepared = prepare(snapshot, Cache(folder=tmp_path / "cases"))
    task = classification.Classification(
        recipe=RECIPE, prepared=prepared, device=torch.device("cpu")
    )
    first = sum(1 for _ in task.batches(0, 0))
    shutil.rmtree(snapshot.cases[0].image.parent)
    assert sum(1 for _ in task.batches(1, 0)) == first == task.steps(0)


@pytest.mark.parametrize(
    ("change", "is_found"),
    [
        ({"seed": 9, "epochs": 7, "title": "Another", "batch": 1}, True),
        ({"optimiser": {"learning_rate": 0.5}, "augmentation": {"flip": 0.1}}, True),
        ({"input": DOCUMENT["input"] | {"window": [0, 2]}}, False),
        ({"options": {"fit": "crop"}}, False),
        # told which series are there
        ({"network": {"name": "EarlyFusion", "arguments": SHAPE}}, False),
        ({"network": {"name": "CNNLSTM", "arguments": SHAPE}}, True),
    ],
)
def test_only_what_bears_on_preparation_is_in_the_name(
    snapshot: Snapshot, change: dict[str, Any], *, is_found: bool
) -> None:
    other = recipe.check(DOCUMENT | change)
    names = {cache.name_of(snapshot.cases[0], one, "all") for one in (RECIPE, other)}
    assert (len(names) == 1) == is_found


def test_objects_found_one_by_one_are_not_kept_under_the_name_of_a_segmentation(
    snapshot: Snapshot,
) -> None:
    shape = {"spatial_dims": 2, "in_channels": 1}
    apart = quick_training.SEGMENTATION | {
        "input": DOCUMENT["input"],
        "labels": [{"number": 1, "name": "cell"}],
        "options": {"instances": True},
    }
    names = {}
    for network, loss, arguments in (
        ("UNet", "dice-cross-entropy", {"out_channels": 2, "channels": [8, 16], "strides": [2]}),
        ("UNet", "dice-focal", {"out_channels": 2, "channels": [4, 8], "strides": [2]}),
        ("torchvision.mask_rcnn", "mask-rcnn", {"num_classes": 2}),
    ):
        wanted = recipe.check(
            apart | {"network": {"name": network, "arguments": shape | arguments}, "loss": loss}
        )
        names[loss] = cache.name_of(snapshot.cases[0], wanted, "all")
    assert names["dice-focal"] == names["dice-cross-entropy"] != names["mask-rcnn"]


def test_every_field_of_a_recipe_bears_on_preparation_until_it_is_said_not_to() -> None:
    assert set(Recipe.model_fields) >= cache._WITHOUT_BEARING
    assert {"kind", "input", "labels", "options", "snapshot"}.isdisjoint(cache._WITHOUT_BEARING)


def test_other_content_has_another_name(snapshot: Snapshot) -> None:
    names = {cache.name_of(case, RECIPE, "all") for case in snapshot.cases}
    assert len(names) == len(snapshot.cases)
    assert cache.name_of(snapshot.cases[0], RECIPE, "image") not in names


def test_of_a_case_that_is_judged_no_array_is_kept(tmp_path: Path, snapshot: Snapshot) -> None:
    kept = Cache(folder=tmp_path / "cases")
    prepare(snapshot, kept)
    for case in snapshot.part(Part.HELD_OUT):
        place = kept.place(cache.name_of(case, RECIPE, ""))
        assert [file.name for file in place.iterdir()] == ["entry.json"]


def test_what_is_removed_from_the_shared_folder_is_taken_from_no_training(tmp_path: Path) -> None:
    kept = Cache(folder=tmp_path / "own", shared=tmp_path / "shared")
    kept.keep("a", ARRAYS, ENTRY)
    assert trimming.trim(tmp_path / "shared", 0) > 0
    assert not (tmp_path / "shared" / "a").exists()
    assert kept.find("a") == ENTRY
    assert np.array_equal(data.load(kept.place("a"))["image"], ARRAYS["image"])


def test_what_was_not_asked_for_the_longest_goes_first(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    for number, name in enumerate(("old", "older", "new")):
        Cache(folder=tmp_path / "own", shared=shared).keep(name, ARRAYS, ENTRY)
        at = 1000.0 if name == "older" else 2000.0 + number
        os.utime(shared / name / "entry.json", (at, at))
    each = sum(file.stat().st_size for file in (shared / "new").iterdir())
    assert Cache(folder=tmp_path / "second", shared=shared).find("older") == ENTRY
    assert trimming.trim(shared, 2 * each) == each
    assert {place.name for place in shared.iterdir()} == {"older", "new"}


def test_a_folder_left_by_a_process_that_was_killed_is_removed_in_time(tmp_path: Path) -> None:
    left, fresh = tmp_path / ".writing-a", tmp_path / ".writing-b"
    for place in (left, fresh):
        place.mkdir()
    os.utime(left, (0, 0))
    trimming.trim(tmp_path, 10**9)
    assert [place.name for place in tmp_path.iterdir()] == [fresh.name]


def test_a_shared_folder_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    (tmp_path / "shared").write_text("a file where a folder should be")
    kept = Cache(folder=tmp_path / "own", shared=tmp_path / "shared")
    kept.keep("a", ARRAYS, ENTRY)
    assert kept.find("a") == ENTRY
    assert kept.find("b") is None
