"""Maps of numbers lie over the image where they are, and nowhere else."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pictures

from pipeline.overlay import Picture, render
from pipeline.palette import HEAT_COLORS
from pipeline.results import Prediction, ValueMap
from pipeline.volume import Image, Volume
from tests.pipeline.models import tiny


def volume() -> Volume:
    """Return a volume of one grey, 8 slices of 32 x 32 voxels, axial, first row in front."""
    stored = np.full((8, 32, 32), 40, np.int16)
    affine = np.eye(4)[:, [2, 1, 0, 3]]
    return tiny.volume(stored=stored, affine=affine, unit="HU")


def drawn(values: NDArray[np.float32], image: Any = None, **others: Any) -> tuple[Picture, ...]:
    one = ValueMap(name="grad-cam of lesion", values=values, **others)
    return render(image or volume(), Prediction(findings=(), maps=(one,)), name="kind")


def tiles(pictures: tuple[Picture, ...]) -> dict[int, NDArray[np.int64]]:
    """Return the tiles of the first map by slice, from 0."""
    sheet, index = pictures[2], json.loads(pictures[3].data)
    pixels = np.asarray(Pictures.open(io.BytesIO(sheet.data)).convert("RGB")).astype(np.int64)
    width, height = index["tile"]
    found = {}
    for position, entry in enumerate(index["tiles"]):
        row, column = divmod(position, index["columns"])
        part = pixels[row * height :, column * width :]
        found[entry["slice"] - 1] = part[:height, :width]
    return found


def test_a_map_is_coloured_where_it_is_high_and_nowhere_else() -> None:
    values = np.zeros((8, 32, 32), np.float32)
    values[3:5, 8:16, 16:24] = 2.0
    values[2, 8:16, 16:24] = 0.4
    pictures = drawn(values, unit="bit")
    index = json.loads(pictures[3].data)
    seen = {one["slice"] - 1: one["segments"] for one in index["tiles"]}
    assert seen == {n: ["grad-cam of lesion"] if n in (3, 4) else [] for n in range(8)}
    for number, tile in tiles(pictures).items():
        is_coloured = (tile.max(2) - tile.min(2)) > 24
        truth = np.kron(values[number] > 1, np.ones((8, 8), bool))
        if number == 2:
            continue
        assert (is_coloured & truth).sum() >= 0.9 * truth.sum()
        assert not is_coloured[: 6 * 8].any()
        assert not is_coloured[:, : 14 * 8].any()
    labels = [(one["label"], one["color"]) for one in index["legend"]]
    assert [label for label, _ in labels] == ["0.5 bit", "1 bit", "2 bit"]
    assert labels[-1][1] == list(HEAT_COLORS[-1])


def test_what_speaks_against_a_label_is_not_coloured() -> None:
    values = np.full((8, 32, 32), -1.0, np.float32)
    for tile in tiles(drawn(values)).values():
        assert (tile.max(2) - tile.min(2)).max() < 8
    assert all(not one["segments"] for one in json.loads(drawn(values)[3].data)["tiles"])


def test_files_of_maps_are_named_by_number_and_map() -> None:
    values = np.ones((8, 32, 32), np.float32)
    maps = tuple(
        ValueMap(name=name, values=values)
        for name in ("grad-cam of X", "grad-cam++ of X", "z" * 90, "../x")
    )
    names = [one.name for one in render(volume(), Prediction(findings=(), maps=maps), name="k")]
    assert [name for name in names if name.endswith(".webp")] == [
        "overlay-k.webp",
        "overlay-k.1-grad-cam-of-x.webp",
        "overlay-k.2-grad-cam-of-x.webp",
        f"overlay-k.3-{'z' * 36}.webp",
        "overlay-k.4-x.webp",
    ]


def test_a_map_is_a_png_too_and_there_its_colours_are_exact() -> None:
    values = np.full((8, 32, 32), 3.0, np.float32)
    pictures = drawn(values)
    exact = pictures[-1]
    assert (exact.name, exact.media_type) == (
        "overlay-kind.1-grad-cam-of-lesion.png",
        "image/png",
    )
    sheet = Pictures.open(io.BytesIO(exact.data), formats=("PNG",))
    # three quarters of the last colour over a quarter of the one grey of the image
    (grey, *_), *_ = tiles(drawn(-values))[0][0]
    wanted = [round(0.25 * grey + 0.75 * colour) for colour in HEAT_COLORS[-1]]
    assert np.abs(np.array(sheet.getpixel((5, 5))) - wanted).max() <= 1
    assert not [
        one for one in render(volume(), Prediction(findings=()), name="k") if "png" in one.name
    ]


def test_probabilities_of_segments_have_no_picture_of_their_own() -> None:
    values = np.ones((8, 32, 32), np.float32)
    assert len(drawn(values, segment=1)) == 2


@pytest.mark.parametrize("shape", [(1, 40, 30), (3, 40, 30, 3)])
def test_images_have_maps_too(shape: tuple[int, ...]) -> None:
    pixels = np.zeros(shape, np.uint8)
    values = np.zeros(shape[:3], np.float32)
    values[0, 10:20, 10:20] = 1
    first = tiles(drawn(values, Image(pixels=pixels)))[0]
    assert (first.max(2) - first.min(2)).max() > 60


def test_the_same_map_gives_the_same_bytes() -> None:
    values = np.random.default_rng(0).random((8, 32, 32)).astype(np.float32)
    assert drawn(values) == drawn(values)
