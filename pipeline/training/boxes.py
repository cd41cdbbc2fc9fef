"""Boxes that are true of a case: in mm of a volume, in pixels of a single image."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.results import Point
from pipeline.training.reading import LabelRefused
from pipeline.volume import Input, Volume


@dataclass(frozen=True, kw_only=True)
class Box:
    """One labelled box: ``centre`` in LPS mm, ``size`` in mm along (slices, rows, columns)."""

    label: str
    centre: Point
    size: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class PixelBox:
    """One labelled box on a single image, in edges of pixels: pixel i covers [i, i + 1)."""

    label: str
    #: first (row, column)
    low: tuple[float, float]
    #: one past the last
    high: tuple[float, float]


def read(path: Path, *, labels: tuple[str, ...]) -> tuple[Box | PixelBox, ...]:
    """Read boxes of a volume or of a single image.

    ``{"boxes": [{"label", "centre": [x, y, z], "size": [s, r, c]}]}`` in mm, or, of an image,
    ``{"boxes": [{"label", "low": [row, column], "high": [row, column]}]}`` in edges of pixels.

    Raises:
        LabelRefused: another form, an unknown label, or a number that cannot be.

    """
    try:
        boxes = tuple(map(_stated, json.loads(path.read_text())["boxes"]))
    except (ValueError, KeyError, TypeError) as error:
        sentence = (
            'it is not of the form {"boxes": [{"label", "centre", "size"}, ...]}, nor, of a single '
            'image, {"boxes": [{"label", "low", "high"}, ...]}'
        )
        raise LabelRefused(sentence) from error
    for box in boxes:
        if box.label not in labels:
            raise LabelRefused(f"a box has a label that is none of {', '.join(labels)}")
        if not _has_size(box):
            raise LabelRefused("a box has no finite place or no positive size")
    return boxes


def _stated(stated: Any) -> Box | PixelBox:
    label = str(stated["label"])
    if "low" in stated:
        return PixelBox(label=label, low=_pair(stated["low"]), high=_pair(stated["high"]))
    return Box(label=label, centre=_triple(stated["centre"]), size=_triple(stated["size"]))


def _has_size(box: Box | PixelBox) -> bool:
    if isinstance(box, PixelBox):
        size, place = np.subtract(box.high, box.low), (*box.low, *box.high)
    else:
        size, place = np.asarray(box.size), (*box.centre, *box.size)
    return bool(np.isfinite(place).all() and size.min() > 0)


def index_box(box: Box | PixelBox, image: Input) -> NDArray[np.float64]:
    """Return (s0, r0, c0, s1, r1, c1): first and one past the last voxel, as results state it.

    A box on a single image lies on its first frame.

    Raises:
        LabelRefused: a box in mm on a single image, or one in pixels on a volume.

    """
    if isinstance(box, PixelBox) and not isinstance(image, Volume):
        return np.array([0.0, *box.low, 1.0, *box.high])
    if isinstance(box, PixelBox) or not isinstance(image, Volume):
        raise LabelRefused("boxes of volumes are in mm, those of single images in pixels")
    place = np.linalg.solve(image.affine, [*box.centre, 1.0])[:3] + 0.5
    half = np.asarray(box.size) / np.asarray(image.spacing) / 2.0
    return np.concatenate([place - half, place + half])


def _pair(values: Any) -> tuple[float, float]:
    first, second = (float(value) for value in values)
    return first, second


def _triple(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(value) for value in values)
    return first, second, third
