"""Four labelled slices, drawn five times: both sides of a draw learn from the same."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml

from bench.quality.few_slices import ABLATIONS
from bench.quality.training import RECIPES

(ABLATION,) = ABLATIONS
Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return volumes that grow brighter from back to front, as NIfTI has their axes."""
    folder = tmp_path_factory.mktemp("hippocampi")
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
        for number in range(40):
            values = np.broadcast_to(np.arange(1, 41, dtype=np.float32)[:, None], (20, 40, 20))
            whole = values if kind == "images" else np.ones(values.shape, np.uint8)
            file = nibabel.Nifti1Image(np.asarray(whole), np.eye(4))
            nibabel.save(file, folder / kind / f"hippocampus_{number:03}.nii.gz")
    return folder


@pytest.fixture(scope="module")
def written(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Rows]]:
    """Return folder and rows of each training, by its name."""
    found = {}
    for side in (side for draw in ABLATION.draws for side in draw):
        folder = tmp_path_factory.mktemp(side.name)
        with side.manifest(source, folder).open() as table:
            found[side.name] = folder, list(csv.DictReader(table))
    return found


def test_a_slice_runs_as_its_label_says(written: dict[str, tuple[Path, Rows]]) -> None:
    for folder, rows in written.values():
        seen = set()
        for row in rows:
            along = np.load(folder / row["image"]).max(axis=1)
            rising = bool((np.diff(along[along > 0]) > 0).all())
            assert row["label"] in ("", "from-behind" if rising else "from-front")
            seen.add(rising)
        assert seen == {True, False}


def test_the_sides_share_all_but_the_slices_without_a_label(
    written: dict[str, tuple[Path, Rows]],
) -> None:
    held_out, learnt = set(), set()
    for more, fewer in ABLATION.draws:
        rows, alone = written[more.name][1], written[fewer.name][1]
        assert [row for row in rows if row["split"] != "unlabelled"] == alone
        rest = [row for row in rows if row["split"] == "unlabelled"]
        assert rest
        assert {row["label"] for row in rest} == {""}
        assert len({row["patient_id"] for row in rows}) == len(rows) == 40
        labels = sorted(row["label"] for row in alone if row["split"] == "training")
        assert labels == ["from-behind"] * 2 + ["from-front"] * 2
        held_out.add(frozenset(row["image"] for row in alone if row["split"] == "held-out"))
        learnt.add(frozenset(row["image"] for row in alone if row["split"] == "training"))
    assert len(held_out) == 1
    assert len(learnt) == len(ABLATION.draws)


def test_the_recipes_differ_in_one_block() -> None:
    one, other = (yaml.safe_load((RECIPES / side.recipe).read_text()) for side in ABLATION.draws[0])
    assert one.pop("pretraining")["method"] == "contrastive"
    for words in ("name", "title"):
        del one[words], other[words]
    assert one == other
