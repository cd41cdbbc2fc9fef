"""Manifests looked through: everything that is wrong at once, nothing that is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.training import checking, layouts, manifest, recipe
from pipeline.training.checking import Report
from pipeline.training.recipe import Recipe
from tests import data as public
from tests import quick_training
from tests.quick_training import write_balls, write_images

BALLS = recipe.check(quick_training.SEGMENTATION)
HIPPOCAMPUS = recipe.check(
    quick_training.SEGMENTATION
    | {
        "labels": [{"number": 1, "name": "anterior"}, {"number": 2, "name": "posterior"}],
        "network": {
            "name": "UNet",
            "arguments": quick_training.SEGMENTATION["network"]["arguments"] | {"out_channels": 3},
        },
    }
)


def check(path: Path, wanted: Recipe = BALLS, shared: Path | None = None) -> Report:
    told: list[tuple[int, int]] = []
    report = checking.check(
        path, wanted, shared=shared, on_case=lambda read, all_: told.append((read, all_))
    )
    assert told == [(read, len(told)) for read in range(len(told))]
    return report


def test_a_sound_manifest_has_no_fault_and_the_digest_that_a_training_will_state(
    tmp_path: Path,
) -> None:
    path = write_balls(tmp_path, "segmentation")
    report = check(path)
    assert report.faults == ()
    assert report.cases == {"training": 4, "validation": 2, "held-out": 2}
    assert report.digest == manifest.freeze(path, BALLS).digest


def test_faults_of_rows_and_of_pixels_are_listed_together(tmp_path: Path) -> None:
    path = write_balls(tmp_path, "segmentation")
    (tmp_path / "1.npy").unlink()
    np.save(tmp_path / "2.mask.npy", np.zeros((3, 3, 3), np.uint8))
    np.save(tmp_path / "4.npy", np.load(tmp_path / "3.npy").astype(np.float64))
    (tmp_path / "5.npy").write_bytes(b"no array")
    (tmp_path / "6.mask.npy").unlink()
    report = check(path)
    assert [(one.row, one.column) for one in report.faults] == [
        (2, "image"),
        (3, "label"),
        (5, "image"),
        (6, "image"),
        (7, "label"),
    ]
    assert report.digest is None


def test_what_cannot_be_read_at_all_is_one_fault(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text("image\n")
    assert [one.row for one in check(tmp_path / "cases.csv").faults] == [0, 0]


def test_what_a_check_prepared_a_training_finds(tmp_path: Path) -> None:
    path = write_images(tmp_path)
    wanted = recipe.check(quick_training.CLASSIFICATION)
    check(path, wanted, tmp_path / "shared")
    assert len(list((tmp_path / "shared").iterdir())) == 16


@pytest.fixture
def dirty(tmp_path: Path) -> Path:
    """A few real volumes with masks, and the three files that lack their other half."""
    source = public.shared("labelled", "seg3d_hippocampus")
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
        some = sorted((source / kind).iterdir())[:8]
        for file in [*some, *(source / "odd" / kind).iterdir()]:
            (tmp_path / kind / file.name).symlink_to(file)
    return tmp_path


def test_real_volumes_without_masks_and_masks_without_volumes_are_listed(dirty: Path) -> None:
    made = layouts.make(dirty, "masks", dirty / "cases.csv", alike=1.0)
    report = check(made.manifest, HIPPOCAMPUS)
    lines = made.manifest.read_text().splitlines()
    other = {"image": 1, "label": 0}  # what the row has instead
    found = {(one.column, lines[one.row].split(",")[other[one.column]]) for one in report.faults}
    assert found == {
        ("image", "labels/hippocampus_010.nii.gz"),
        ("image", "labels/hippocampus_281.nii.gz"),
        ("label", "images/hippocampus_118.nii.gz"),
    }
