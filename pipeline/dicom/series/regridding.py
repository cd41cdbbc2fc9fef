"""Lay slices that are sheared, or of which some are missing, on an orthogonal grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom.series.geometry import Plane, Vector
from pipeline.volume import Regridding

#: Shifts of all slices below this, in pixels, are the rounding of their positions.
_NO_SHIFT: Final = 0.02


@dataclass(frozen=True, kw_only=True)
class Laid:
    """A grid for slices, and how they lie on it."""

    #: centre of its first voxel, LPS mm
    origin: Vector
    shape: tuple[int, int, int]
    #: None where the slices are the grid
    regridding: Regridding | None


def lay(
    positions: Vector,
    places: tuple[int, ...],
    plane: Plane,
    size: tuple[int, int],
    *,
    is_tilted: bool,
) -> Laid:
    """Return the smallest orthogonal grid that holds all of all slices.

    Args:
        positions: of the first voxels of the slices, in slice order, (slices, 3), LPS mm.
        places: the place of each slice along the normal, from 0.
        plane: what the slices share.
        size: (rows, columns) of a slice.
        is_tilted: whether the slices lie shifted against each other in their plane.

    """
    rows, columns = size
    count = places[-1] + 1
    if not is_tilted and count == len(places):
        return Laid(origin=positions[0], shape=(count, rows, columns), regridding=None)
    down, right = np.zeros(len(places)), np.zeros(len(places))
    if is_tilted:
        moved = positions - positions[0]
        down = _pixels(moved @ plane.column_cosine / plane.spacing[0])
        right = _pixels(moved @ plane.row_cosine / plane.spacing[1])
    top, left = math.floor(down.min()), math.floor(right.min())
    origin = (
        positions[0]
        + top * plane.spacing[0] * plane.column_cosine
        + left * plane.spacing[1] * plane.row_cosine
    )
    down, right = down - top, right - left
    return Laid(
        origin=origin,
        shape=(count, rows + math.ceil(down.max()), columns + math.ceil(right.max())),
        regridding=Regridding(
            shape=(len(places), rows, columns),
            slices=places,
            shifts=tuple((float(r), float(c)) for r, c in zip(down, right, strict=True)),
        ),
    )


def regrid(
    stored: NDArray[Any],
    way: Regridding,
    out: NDArray[Any],
    *,
    slope: float = 1.0,
) -> None:
    """Fill a grid with slices: shifted in their planes, the missing ones between neighbours.

    Interpolation is linear and stays in the stored numbers, rounded to the nearest where they
    are integers, so that one rescale holds for all of them.

    Args:
        stored: (slices, rows, columns), in slice order, as ``way.shape``.
        way: how they lie on the grid.
        out: (slices, rows, columns) of the grid, same dtype; every voxel is written.
        slope: of the rescale; what lies outside of every slice gets the least value.

    """
    outside = stored.min() if slope > 0 else stored.max()
    for plane, place, shift in zip(stored, way.slices, way.shifts, strict=True):
        if shift == (0.0, 0.0) and plane.shape == out.shape[1:]:
            out[place] = plane
        else:
            _store(out[place], _shifted(plane, shift, out.shape[1:], outside))
    for lower, upper in zip(way.slices, way.slices[1:], strict=False):
        for place in range(lower + 1, upper):
            share = (place - lower) / (upper - lower)
            between = out[lower] * (1.0 - share) + out[upper] * share
            _store(out[place], between)


def _pixels(shifts: Vector) -> Vector:
    if np.abs(shifts).max() < _NO_SHIFT:
        return np.zeros_like(shifts)
    return np.asarray(np.round(shifts, 6))


def _shifted(
    plane: NDArray[Any], shift: tuple[float, float], shape: tuple[int, ...], outside: float
) -> Vector:
    """Return a plane moved down and right by parts of pixels on a larger canvas, float64."""
    canvas = np.full(shape, outside, np.float64)
    (top, down), (left, right) = (divmod(pixels, 1.0) for pixels in shift)
    rows, columns = plane.shape
    canvas[int(top) : int(top) + rows, int(left) : int(left) + columns] = plane
    for axis, part in enumerate((down, right)):
        if part > 0:
            # the last row or column of the canvas is outside wherever there is a part to move
            canvas = canvas * (1.0 - part) + np.roll(canvas, 1, axis) * part
    return canvas


def _store(out: NDArray[Any], values: Vector) -> None:
    np.copyto(out, np.rint(values) if out.dtype.kind in "iu" else values, casting="unsafe")
