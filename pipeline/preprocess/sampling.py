"""Grids whose axes run along each other's: values of the one at the voxels of the other."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: voxels by which sums of floats may lie beside the place they are meant for
_ROUNDING: Final = 1e-6


def sampled(
    array: NDArray[Any],
    matrix: NDArray[np.float64],
    shape: tuple[int, int, int],
    *,
    order: int,
    holds_edge: bool = False,
) -> NDArray[Any]:
    """Return an array at the voxels of another grid.

    In the outer half of its outermost voxels their values hold.

    Args:
        array: three axes, colours last; whole numbers only with order 0.
        matrix: (4, 4), from the index on the other grid to that on the array's. Each axis runs
            along one of the array's, in its or against its direction, at any scale.
        shape: of the other grid.
        order: of the spline: 0 is the nearest voxel, 1 linear, 3 cubic.
        holds_edge: whether the outermost values hold beyond the array too; else there is 0.

    """
    if array.ndim == 4:
        colours = np.moveaxis(array, 3, 0)
        parts = [sampled(one, matrix, shape, order=order, holds_edge=holds_edge) for one in colours]
        return np.stack(parts, axis=-1)
    axes = [int(np.abs(matrix[:3, axis]).argmax()) for axis in range(3)]
    turned = array.transpose(axes)
    made = np.zeros(shape, array.dtype)
    scales, starts, box = [], [], []
    for axis, source in enumerate(axes):
        scale, start = float(matrix[source, axis]), float(matrix[source, 3])
        count = turned.shape[axis]
        if scale < 0:
            turned = np.flip(turned, axis)
            scale, start = -scale, count - 1 - start
        first, past = 0, shape[axis]
        if not holds_edge:
            first = max(first, math.ceil((-0.5 - _ROUNDING - start) / scale))
            past = min(past, math.ceil((count - 0.5 + _ROUNDING - start) / scale))
        scales.append(scale)
        # of two voxels equally near the later one is taken, whatever the rounding
        starts.append(start + first * scale + (_ROUNDING if order == 0 else 0.0))
        box.append(slice(first, max(first, past)))
    part = made[tuple(box)]
    if part.size:
        ndimage.affine_transform(
            turned, scales, starts, part.shape, output=part, order=order, mode="nearest"
        )
    return made
