"""Balls in millimetres or voxels, on voxels of any shape."""

from __future__ import annotations

import math
from typing import Annotated, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from pipeline.errors import ModelMismatch
from pipeline.preprocess.raster import STRICT, Millimetres, Raster, Step, exactly_one, lengths

#: beyond this a filter would run for hours
_MOST_VOXELS: Final = 4096
#: voxels by which sums of floats may lie beside the border that they are meant for
ROUNDING: Final = 1e-6


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Ball(Step):
    """A step that looks at what lies within a radius, in millimetres or voxels."""

    radius_mm: Millimetres | None = None
    radius_voxels: Annotated[int, Field(ge=1, le=100)] | None = None
    #: whether slices are taken each for itself: a disk, not a ball
    slicewise: bool = False

    @model_validator(mode="after")
    def _check_radius(self) -> Self:
        exactly_one(self, "radius_mm", "radius_voxels")
        return self

    @property
    def radius(self) -> float:
        """The radius in whichever unit it is stated."""
        return float(self.radius_mm or self.radius_voxels or 0)

    def voxel(self, raster: Raster) -> tuple[float, float, float]:
        """Return the size of a voxel in that unit; infinite along an axis that is not mixed."""
        return lengths(raster, in_mm=self.radius_mm is not None, slicewise=self.slicewise)


def reach(ball: Ball, raster: Raster) -> tuple[int, int, int]:
    """Return how many voxels a ball reaches along each axis, no further than the image."""
    first, rows, columns = (
        min(int(ball.radius / length + ROUNDING), count)
        for length, count in zip(ball.voxel(raster), raster.shape, strict=True)
    )
    return first, rows, columns


def offsets(ball: Ball, raster: Raster) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the voxels (n, 3) of a ball about the voxel (0, 0, 0), and how far away they are.

    Raises:
        ModelMismatch: there are too many to look at for every voxel of an image.

    """
    sides = [2 * one + 1 for one in reach(ball, raster)]
    # a ball fills about half of its cube
    if math.prod(sides) > 2 * _MOST_VOXELS:
        raise ModelMismatch(f"a ball in a step is larger than {_MOST_VOXELS} voxels")
    places = np.indices(sides).reshape(3, -1).T - np.array(sides) // 2
    along = np.array(ball.voxel(raster))
    distances = np.linalg.norm(places * np.where(np.isfinite(along), along, 0.0), axis=1)
    inside = distances <= ball.radius * (1 + ROUNDING)
    return places[inside], distances[inside]
