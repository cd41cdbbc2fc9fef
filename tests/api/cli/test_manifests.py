"""``nightshift manifests``: from a folder to a manifest, and from a manifest to its faults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image as Picture

from api.cli.manifests import Layout
from pipeline.training.layouts import LAYOUTS
from tests import quick_training

if TYPE_CHECKING:
    from tests.api.cli.conftest import Home, Shell


def test_the_command_line_knows_every_layout() -> None:
    assert [one.value for one in Layout] == list(LAYOUTS)


@pytest.mark.system
def test_a_folder_becomes_a_manifest_that_is_checked_row_by_row(
    home: Home, shell: Shell, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    for number in range(30):
        folder = tmp_path / "set" / ("dark", "bright")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        coarse = random.integers(0, 255, (4, 4)).astype(np.uint8)
        pixels = np.kron(coarse, np.ones((4, 4), np.uint8))
        Picture.fromarray(pixels).save(folder / f"{number:02d}.png")
    (tmp_path / "recipe.yaml").write_text(json.dumps(quick_training.CLASSIFICATION))
    table = tmp_path / "made" / "cases.csv"
    made = shell(
        "manifests", "make", str(tmp_path / "set"), "--layout", "classes", "--out", str(table)
    )
    assert made.code == 0, made.err
    assert "30 cases, 30 patients" in made.out
    words = ("manifests", "check", str(tmp_path / "recipe.yaml"), "--manifest", str(table))
    rows = table.read_text().splitlines()
    first = table.parent / rows[1].split(",")[0]
    first.write_bytes(b"no picture")
    faulty = shell(*words)
    assert faulty.code == 1
    assert "row 1, image: it is not a readable PNG, JPEG or TIFF picture" in faulty.out
    assert "1 faults. A training would refuse this manifest." in faulty.out


@pytest.mark.system
def test_a_folder_of_another_layout_and_a_recipe_that_is_none_are_wrong_usage(
    home: Home, shell: Shell, tmp_path: Path
) -> None:
    made = shell(
        "manifests", "make", str(tmp_path), "--layout", "voc", "--out", str(tmp_path / "a.csv")
    )
    assert made.code == 2
    assert "There is no folder JPEGImages" in made.err
    (tmp_path / "a.csv").write_text("image,label,patient_id\n")
    (tmp_path / "recipe.yaml").write_text("name: 3")
    checked = shell(
        "manifests", "check", str(tmp_path / "recipe.yaml"), "--manifest", str(tmp_path / "a.csv")
    )
    assert checked.code == 2
    assert "title: Field required" in checked.err
