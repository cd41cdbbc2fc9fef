"""Boxes are read as they are stated, in mm or in pixels, and what cannot be a box is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.training import boxes
from pipeline.training.boxes import Box, PixelBox
from pipeline.training.reading import LabelRefused
from pipeline.volume import Image, Volume

IMAGE = Image(pixels=np.zeros((1, 20, 30), np.uint8))
VOLUME = Volume(stored=np.zeros((4, 20, 30), np.int16), affine=np.diag([3.0, 0.5, 0.5, 1.0]))


def test_a_box_of_an_image_is_in_edges_of_its_pixels(tmp_path: Path) -> None:
    stated = {"label": "cell", "low": [2, 5.5], "high": [9, 30]}
    (tmp_path / "boxes.json").write_text(json.dumps({"boxes": [stated]}))
    (box,) = boxes.read(tmp_path / "boxes.json", labels=("cell",))
    assert box == PixelBox(label="cell", low=(2.0, 5.5), high=(9.0, 30.0))
    assert boxes.index_box(box, IMAGE).tolist() == [0, 2, 5.5, 1, 9, 30]


def test_a_box_in_mm_needs_a_volume_and_one_in_pixels_an_image() -> None:
    in_mm = Box(label="cell", centre=(3.0, 2.0, 4.0), size=(3.0, 1.0, 2.0))
    assert boxes.index_box(in_mm, VOLUME).tolist() == [1, 3.5, 6.5, 2, 5.5, 10.5]
    in_pixels = PixelBox(label="cell", low=(0.0, 0.0), high=(4.0, 4.0))
    for box, image in ((in_mm, IMAGE), (in_pixels, VOLUME)):
        with pytest.raises(LabelRefused):
            boxes.index_box(box, image)


@pytest.mark.parametrize(
    "document",
    [
        "{",
        "[]",
        "{}",
        '{"boxes": [{"label": "nodule"}]}',
        '{"boxes": [{"label": "car", "centre": [0, 0, 0], "size": [1, 1, 1]}]}',
        '{"boxes": [{"label": "nodule", "centre": [0, 0], "size": [1, 1, 1]}]}',
        '{"boxes": [{"label": "nodule", "centre": [0, 0, 0], "size": [1, 0, 1]}]}',
        '{"boxes": [{"label": "nodule", "low": [0, 0]}]}',
        '{"boxes": [{"label": "nodule", "low": [0, 0, 0], "high": [1, 1, 1]}]}',
        '{"boxes": [{"label": "nodule", "low": [0, 3], "high": [5, 3]}]}',
        '{"boxes": [{"label": "nodule", "low": [0, 0], "high": [1, Infinity]}]}',
        '{"boxes": [{"label": "nodule", "centre": [0, 0, NaN], "size": [1, 1, 1]}]}',
    ],
)
def test_boxes_of_another_form_are_refused(tmp_path: Path, document: str) -> None:
    (tmp_path / "boxes.json").write_text(document)
    with pytest.raises(LabelRefused):
        boxes.read(tmp_path / "boxes.json", labels=("nodule",))


def test_a_case_without_boxes_is_a_case(tmp_path: Path) -> None:
    (tmp_path / "boxes.json").write_text(json.dumps({"boxes": []}))
    assert boxes.read(tmp_path / "boxes.json", labels=("nodule",)) == ()
