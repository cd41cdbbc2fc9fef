"""Nuclei: what looks alike stays on one side, and all kinds of images look alike to the network."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from bench.quality import nuclei

#: backgrounds of acquisitions, and how many images were cut out of each
ACQUISITIONS = {(4, 4, 4): 3, (16, 16, 16): 3, (40, 40, 40): 2, (230, 180, 220): 2}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("cases")
    for name in ("images", "labels"):
        (source / name).mkdir()
    rng = np.random.default_rng(0)
    for background, count in ACQUISITIONS.items():
        for number in range(count * 4):
            # four microscopes to each, told apart by the size of their images
            side = 16 + 2 * (number % 4)
            pixels = np.full((side, side, 3), background, np.uint8)
            pixels[4:8, 4:8] = (90, 60, 140) if background[0] > 127 else 200
            pixels[rng.integers(9, side), rng.integers(9, side)] = 100
            instances = np.zeros((side, side), np.uint16)
            instances[4:8, 4:6], instances[4:8, 6:8] = 1, 2
            name = f"{background[0]:03}-{number:02}.png"
            Picture.fromarray(pixels).convert("RGBA").save(source / "images" / name)
            Picture.fromarray(instances).save(source / "labels" / name)
    path = nuclei.manifest(source, folder)
    with path.open() as table:
        return [{**row, "folder": str(folder)} for row in csv.DictReader(table)]


def test_no_acquisition_is_on_two_sides(rows: list[dict[str, str]]) -> None:
    assert len(rows) == 40
    parts: dict[str, set[str]] = {}
    for row in rows:
        parts.setdefault(row["patient_id"], set()).add(row["split"])
    assert len(parts) == 16
    assert all(len(found) == 1 for found in parts.values())
    assert {part for (part,) in parts.values()} > {"train"}
    for background in ("004", "016", "040", "230"):
        alike = {row["patient_id"] for row in rows if row["image"].startswith(background)}
        assert len(alike) == 4  # one of each size


def test_nuclei_are_bright_and_each_has_its_number(rows: list[dict[str, str]]) -> None:
    for row in rows:
        image, mask = (
            np.asarray(Picture.open(Path(row["folder"]) / row[name])) for name in ("image", "label")
        )
        assert image.ndim == 2
        assert image[4:8, 4:8].min() > np.median(image) + 60
        assert np.count_nonzero(mask) == 16
        assert (mask[4:8, 4:6] == 1).all()
        assert (mask[4:8, 6:8] == 2).all()


def test_light_is_evened_by_its_square_root() -> None:
    glowing = np.zeros((4, 5, 3), np.uint8)
    glowing[0, :3, 0] = 16, 64, 255
    assert nuclei.bright_nuclei(glowing)[0].tolist() == [64, 128, 255, 0, 0]
    assert (nuclei.bright_nuclei(255 - glowing) == nuclei.bright_nuclei(glowing)).all()
