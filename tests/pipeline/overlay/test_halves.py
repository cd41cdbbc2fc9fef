"""Derived images beside their source: the right halves of tiles, slice by slice."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pictures

from pipeline.overlay import Picture, render
from pipeline.results import DerivedImage, Prediction
from pipeline.volume import Image, Input, Volume

AFFINE = np.array([[0, 0, 1, 3], [0, 1, 0, -8], [4, 0, 0, 5], [0, 0, 0, 1]], float)


def shown(
    image: Input, values: NDArray[np.float32], affine: NDArray[np.float64] | None
) -> list[Picture]:
    derived = DerivedImage(name="Less noise (test)", values=values, affine=affine)
    return [*render(image, Prediction(findings=(), derived=(derived,)), name="x")]


def tiles_of(pictures: list[Picture]) -> list[NDArray[np.int64]]:
    """Return the tiles of the derived image, (rows, columns) of grey."""
    index = json.loads(pictures[3].data)
    sheet = np.asarray(Pictures.open(io.BytesIO(pictures[2].data)).convert("L")).astype(int)
    width, height = index["tile"]
    places = (divmod(position, index["columns"]) for position in range(len(index["tiles"])))
    return [sheet[row * height :, column * width :][:height, :width] for row, column in places]


def stairs(slices: int) -> Volume:
    """Return a volume whose slices lie 100 HU apart."""
    stored = np.zeros((slices, 16, 16), np.int16)
    stored += 100 * np.arange(slices, dtype=np.int16)[:, None, None]
    return Volume(stored=stored, affine=AFFINE, unit="HU")


def test_the_right_half_is_the_derived_image_and_the_left_one_the_source() -> None:
    volume = Volume(stored=np.zeros((3, 16, 16), np.int16), affine=AFFINE, unit="HU")
    pictures = shown(volume, np.full((3, 16, 16), 200.0, np.float32), AFFINE)
    assert [one.name for one in pictures[2:]] == [
        "overlay-x.1-less-noise-test.webp",
        "overlay-x.1-less-noise-test.json",
    ]
    for tile in tiles_of(pictures):
        half = tile.shape[1] // 2
        assert tile[:, half + 8 :].mean() > tile[:, : half - 8].mean() + 80
        assert np.ptp(tile[:, : half - 8]) < 8
    assert [entry["label"] for entry in json.loads(pictures[3].data)["legend"]] == [
        "left: as it was",
        "right: Less noise (test)",
    ]


@pytest.mark.parametrize("times", [1, 2])
def test_halves_are_of_one_place_also_where_the_derived_image_is_finer(times: int) -> None:
    volume = stairs(4)
    finer = volume.values().repeat(times, axis=0).repeat(times, axis=1).repeat(times, axis=2)
    affine = AFFINE.copy()
    affine[:3, :3] /= times
    affine[:3, 3] = volume.to_patient(np.full(3, 0.5 / times - 0.5))
    tiles = tiles_of(shown(volume, finer, affine))
    assert len(tiles) == 4
    for tile in tiles:
        half = tile.shape[1] // 2
        assert abs(tile[:, : half - 8].mean() - tile[:, half + 8 :].mean()) < 6


def test_what_shows_another_part_of_the_patient_is_not_set_beside() -> None:
    moved = AFFINE.copy()
    moved[:3, 3] += 3.0
    assert len(shown(stairs(3), np.zeros((3, 16, 16), np.float32), moved)) == 2
    assert len(shown(stairs(3), np.zeros((3, 16, 16), np.float32), AFFINE)) == 4
    assert len(shown(stairs(3), np.zeros((3, 8, 16), np.float32), AFFINE)) == 2


def test_pictures_in_colours_are_set_beside_in_their_colours() -> None:
    image = Image(pixels=np.full((1, 16, 16, 3), (200, 0, 0), np.uint8))
    blue = np.full((1, 32, 32, 3), (0, 0, 200), np.float32)
    pictures = shown(image, blue, None)
    sheet = np.asarray(Pictures.open(io.BytesIO(pictures[2].data)).convert("RGB")).astype(int)
    half = sheet.shape[1] // 2
    assert abs(sheet[:, : half - 16].mean(axis=(0, 1)) - (200, 0, 0)).max() < 8
    assert abs(sheet[:, half + 16 :].mean(axis=(0, 1)) - (0, 0, 200)).max() < 8
