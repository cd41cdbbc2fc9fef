"""Twenty labelled radiographs, drawn five times: each draw gives both of its trainings the same."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml

from bench.quality.few_labels import ABLATIONS, Few
from bench.quality.training import RECIPES

DRAWS = {one.name: one.draws for one in ABLATIONS}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return 400 images to learn from and 50 to be judged on, and the first of them once more."""
    images = np.random.default_rng(0).integers(256, size=(450, 6, 6), dtype=np.uint8)
    images[449] = images[0]
    labels = np.arange(450)[:, None] % 2
    folder = tmp_path / "source"
    folder.mkdir()
    np.savez(
        folder / "pneumoniamnist_train_val.npz",
        train_images=images[:400],
        train_labels=labels[:400],
        val_images=images[400:],
        val_labels=labels[400:],
    )
    return folder


def parts(few: Few, source: Path, folder: Path) -> dict[str, set[str]]:
    folder.mkdir()
    with few(source, folder).open() as table:
        rows = list(csv.DictReader(table))
    assert all((row["label"] == "") == (row["split"] == "unlabelled") for row in rows)
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row["split"], set()).add(row["image"])
    assert sum(map(len, found.values())) == len(rows)  # none twice, none in two parts
    return found


def test_both_sides_of_a_draw_share_all_but_the_images_without_a_label(
    source: Path, tmp_path: Path
) -> None:
    more = parts(Few(labelled=20, unlabelled=150, draw=3), source, tmp_path / "more")
    fewer = parts(Few(labelled=20, draw=3), source, tmp_path / "fewer")
    assert {part: len(images) for part, images in more.items()} == {
        "held-out": 49,  # the one that is there twice counts once
        "validation": 200,
        "training": 20,
        "unlabelled": 150,
    }
    assert fewer == {part: images for part, images in more.items() if part != "unlabelled"}


def test_each_draw_has_other_labels_and_is_judged_on_the_same(source: Path, tmp_path: Path) -> None:
    drawn = [parts(Few(labelled=20, draw=draw), source, tmp_path / str(draw)) for draw in range(5)]
    assert len({frozenset(one["held-out"]) for one in drawn}) == 1
    assert len({frozenset(one["training"]) for one in drawn}) == 5


@pytest.mark.parametrize(
    "name", ["semi-supervised", "self-supervised, contrast", "self-supervised, hidden patches"]
)
def test_the_sides_differ_in_one_block_and_in_nothing_of_the_draw(name: str) -> None:
    assert len(DRAWS[name]) == 5
    assert len({side.name for draw in DRAWS[name] for side in draw}) == 10
    for number, draw in enumerate(DRAWS[name]):
        manifests = [side.manifest for side in draw]
        assert all(isinstance(one, Few) and one.draw == number for one in manifests)
        one, other = (yaml.safe_load((RECIPES / side.recipe).read_text()) for side in draw)
        blocks = {
            block for block in one.keys() | other.keys() if one.get(block) != other.get(block)
        }
        words = {"name", "title", "description"}
        assert len(blocks - words) == 1
