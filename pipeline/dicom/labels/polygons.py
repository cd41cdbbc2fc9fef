"""Polygons to pixels by the even-odd rule. Coordinates are (row, column), pixel centres whole.

A pixel is inside where its centre is. A centre on the boundary counts half-open: inside on the
side of the lower row or column, outside on the other, so that polygons which share an edge share
no pixel and leave none out. Direction does not matter; what an even number of contours encloses
is a hole, and so is what a contour encloses that comes back along its own keyhole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[np.float64]


def fill(polygons: Sequence[Vector], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Rasterise closed polygons together.

    Args:
        polygons: (n, 2) each, closed by themselves; what lies outside of the grid is cut off.
        shape: (rows, columns).

    Returns:
        bool (rows, columns).

    """
    rows, columns = shape
    starts = np.concatenate(polygons)
    ends = np.concatenate([np.roll(polygon, -1, axis=0) for polygon in polygons])
    # the same end first, whichever way it is drawn: a keyhole must cancel itself to the last bit
    is_down = starts[:, 0] > ends[:, 0]
    upper = np.where(is_down[:, None], ends, starts)
    lower = np.where(is_down[:, None], starts, ends)
    # rows with upper <= row < lower are crossed
    first = np.clip(np.ceil(upper[:, 0]), 0, rows).astype(np.int64)
    past = np.clip(np.ceil(lower[:, 0]), 0, rows).astype(np.int64)
    counts = np.maximum(past - first, 0)
    edge = np.repeat(np.arange(len(counts)), counts)
    row = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    share = (row - upper[edge, 0]) / (lower[edge, 0] - upper[edge, 0])
    crossing = upper[edge, 1] + share * (lower[edge, 1] - upper[edge, 1])
    column = np.clip(np.ceil(crossing), 0, columns).astype(np.int64)
    toggles = np.bincount(row * (columns + 1) + column, minlength=rows * (columns + 1))
    inside = np.cumsum(toggles.reshape(rows, columns + 1)[:, :columns] & 1, axis=1) & 1
    return inside.astype(np.bool_)


def ellipse(centre: Vector, first: Vector, second: Vector, corners: int = 720) -> Vector:
    """Return an ellipse as a polygon of the same area: ``centre`` + its two half axes, any space.

    A pixel centre is misjudged only within a hundred-thousandth of the half axis of the edge.
    """
    angles = 2.0 * np.pi * np.arange(corners) / corners
    step = 2.0 * np.pi / corners
    scale = np.sqrt(step / np.sin(step))
    around = np.outer(np.cos(angles), first) + np.outer(np.sin(angles), second)
    return np.asarray(centre + scale * around)


def do_overlap_in_part(polygons: Sequence[Vector], shape: tuple[int, int]) -> bool:
    """Say whether two polygons overlap without one holding the other."""
    rows, columns = window(polygons, shape)
    size = rows.stop - rows.start, columns.stop - columns.start
    if min(size) < 1:
        return False
    corner = np.array([rows.start, columns.start], np.float64)
    masks = [fill([polygon - corner], size) for polygon in polygons]
    for number, one in enumerate(masks):
        for other in masks[:number]:
            shared = int((one & other).sum())
            if 0 < shared < min(int(one.sum()), int(other.sum())):
                return True
    return False


def window(polygons: Sequence[Vector], shape: tuple[int, int]) -> tuple[slice, slice]:
    """Return the rows and columns of the grid that polygons can touch; empty where none."""
    points = np.concatenate(polygons)
    first = np.clip(np.floor(points.min(axis=0)), 0, shape).astype(int)
    past = np.clip(np.ceil(points.max(axis=0)) + 1, first, shape).astype(int)
    return slice(int(first[0]), int(past[0])), slice(int(first[1]), int(past[1]))


def fill_window(
    polygons: Sequence[Vector], shape: tuple[int, int]
) -> tuple[tuple[int, int], NDArray[np.bool_]]:
    """Rasterise polygons as ``fill`` does, only where they are: (first row and column, mask)."""
    rows, columns = window(polygons, shape)
    corner = rows.start, columns.start
    moved = [polygon - np.asarray(corner, np.float64) for polygon in polygons]
    size = rows.stop - rows.start, columns.stop - columns.start
    return corner, fill(moved, size) if min(size) > 0 else np.zeros(size, np.bool_)
