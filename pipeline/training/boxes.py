"""Boxes that are true of a case: in mm of a volume, in pixels of a single image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

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


AnyBox: TypeAlias = Box | PixelBox


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What a file says of one image, before anybody has looked at the image."""

    boxes: tuple[AnyBox, ...]
    #: (rows, columns) of the image that they were drawn on, where the file tells it
    drawn_on: tuple[int, int] | None = None
    #: what of the file is not used, in sentences
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Settled:
    """The boxes that are true of an image, and what was done to them, in sentences."""

    boxes: tuple[AnyBox, ...]
    notes: tuple[str, ...] = ()


def settle(
    stated: Stated, image: Input, labels: Sequence[str], *, drops_empty: bool = False
) -> Settled:
    """Hold boxes against the image that they are said to be on.

    A box in pixels that reaches over the edge is cut there.

    Args:
        stated: by the file.
        image: that the boxes lie on.
        labels: that there are.
        drops_empty: whether boxes without an area are left out; otherwise they are refused.

    Raises:
        LabelRefused: a box has an unknown label, no finite place, no area or its centre outside of
            the image, or they were drawn on an image of another size.

    """
    shape = image.stored.shape if isinstance(image, Volume) else image.pixels.shape[:3]
    if stated.drawn_on is not None and stated.drawn_on != shape[1:]:
        sentence = f"the boxes were drawn on {stated.drawn_on} pixels, the image has {shape[1:]}"
        raise LabelRefused(sentence)
    kept: list[AnyBox] = []
    empty = cut = 0
    for box in stated.boxes:
        if box.label not in labels:
            raise LabelRefused(f"a box has a label that is none of {', '.join(labels)}")
        if not _has_size(box):
            empty += 1
            continue
        low, high = np.split(index_box(box, image), 2)
        centre = (low + high) / 2.0
        if (centre < 0).any() or (centre > shape).any():
            raise LabelRefused("a box lies outside of its image")
        over = (low < 0).any() or (high > shape).any()
        cut += int(over and isinstance(box, PixelBox))
        kept.append(_cut(box, shape) if isinstance(box, PixelBox) else box)
    if empty and not drops_empty:
        sentence = f"{empty} of {len(stated.boxes)} boxes have no area"
        raise LabelRefused(f"{sentence}; snapshot.empty_boxes: drop leaves such out")
    notes = [*stated.notes]
    notes += [f"boxes without an area were left out: {empty}"] if empty else []
    notes += [f"boxes were cut at the edge of the image: {cut}"] if cut else []
    return Settled(boxes=tuple(kept), notes=tuple(notes))


def index_box(box: AnyBox, image: Input) -> NDArray[np.float64]:
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


def _has_size(box: AnyBox) -> bool:
    """Say whether a box has an area.

    Raises:
        LabelRefused: it has no finite place, or ends before it begins.

    """
    if isinstance(box, PixelBox):
        place, size = np.asarray(box.low), np.subtract(box.high, box.low)
    else:
        place, size = np.asarray(box.centre), np.asarray(box.size)
    if not (np.isfinite(size).all() and np.isfinite(place).all()) or size.min() < 0:
        raise LabelRefused("a box has no finite place or ends before it begins")
    return bool(size.min() > 0)


def _cut(box: PixelBox, shape: Sequence[int]) -> PixelBox:
    """Return a box without what reaches over the edge of the image."""
    low_row, low_column = np.clip(box.low, 0.0, shape[1:]).tolist()
    high_row, high_column = np.clip(box.high, 0.0, shape[1:]).tolist()
    return PixelBox(label=box.label, low=(low_row, low_column), high=(high_row, high_column))
