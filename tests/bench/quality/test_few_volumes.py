"""Two outlines and many volumes without: both trainings learn from the same, and are judged so."""

from __future__ import annotations

import csv
from pathlib import Path

import yaml

from bench.quality.few_volumes import ABLATIONS
from bench.quality.training import RECIPES


def rows(task_manifest: Path) -> set[tuple[str, ...]]:
    with task_manifest.open() as table:
        return {tuple(row.values()) for row in csv.DictReader(table)}


def test_the_sides_share_all_cases_but_those_without_a_label(tmp_path: Path) -> None:
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
        for number in range(100 if kind == "images" else 99):  # one has no outline
            (tmp_path / kind / f"hippocampus_{number:03}.nii.gz").touch()
    ((task, without),) = ABLATIONS[0].draws
    more = rows(task.manifest(tmp_path, tmp_path))
    fewer = rows(without.manifest(tmp_path, tmp_path))
    assert len(fewer) == 60 + 30 + 2
    assert all(label.endswith(".nii.gz") for _, label, _, _ in fewer)
    rest = more - fewer
    assert fewer < more
    assert len(rest) == 7
    assert {(label, part) for _, label, _, part in rest} == {("", "unlabelled")}
    assert len({patient for _, _, patient, _ in more}) == 99


def test_the_recipes_differ_in_one_block() -> None:
    one, other = (
        yaml.safe_load((RECIPES / side.recipe).read_text()) for side in ABLATIONS[0].draws[0]
    )
    assert one.pop("pretraining")["method"] == "masked-autoencoder"
    for words in ("name", "title", "description"):
        del one[words], other[words]
    assert one == other
