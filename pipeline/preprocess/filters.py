"""Steps against noise: each voxel becomes a mean or median of others about it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from scipy import ndimage

from pipeline.preprocess.balls import Ball, offsets
from pipeline.preprocess.raster import (
    STRICT,
    Checkpoint,
    Raster,
    Sigma,
    Step,
    exactly_one,
    lengths,
)

#: slices that are filtered between two looks at the checkpoint
_SLAB: Final = 16
#: standard deviations that a Gaussian reaches, as scipy has it
_REACH: Final = 4.0


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Gaussian(Step):
    """Smooth with a Gaussian."""

    sigma_mm: Sigma | None = None
    sigma_voxels: Sigma | None = None
    slicewise: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        exactly_one(self, "sigma_mm", "sigma_voxels")
        return self

    def apply(self, raster: Raster, checkpoint: Checkpoint) -> Raster:
        """See ``Step.apply``."""
        voxels = lengths(raster, in_mm=self.sigma_mm is not None, slicewise=self.slicewise)
        sigma = self.sigma_mm or self.sigma_voxels or 0.0
        along = [sigma / length for length in voxels]

        def smooth(values: NDArray[np.float32]) -> NDArray[np.float32]:
            smoothed = ndimage.gaussian_filter(values, along, mode="nearest", truncate=_REACH)
            return np.asarray(smoothed, np.float32)

        halo = math.ceil(_REACH * along[0] + 0.5)
        return raster.with_values(_by_slabs(raster.values(), halo, smooth, checkpoint))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Median(Ball):
    """The median within a ball."""

    def apply(self, raster: Raster, checkpoint: Checkpoint) -> Raster:
        """See ``Step.apply``."""
        places, _ = offsets(self, raster)
        reach = np.abs(places).max(axis=0)
        ball = np.zeros(2 * reach + 1, bool)
        ball[tuple((places + reach).T)] = True

        def filtered(values: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.asarray(ndimage.median_filter(values, footprint=ball, mode="nearest"))

        return raster.with_values(_by_slabs(raster.values(), int(reach[0]), filtered, checkpoint))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Bilateral(Ball):
    """A mean within a ball of what is near in place and in value (Tomasi, Manduchi, ICCV 1998).

    The standard deviation in place is half of the radius.
    """

    #: standard deviation in value, in the unit of the image
    sigma_value: Annotated[float, Field(gt=0, allow_inf_nan=False)]

    def apply(self, raster: Raster, checkpoint: Checkpoint) -> Raster:
        """See ``Step.apply``."""
        places, distances = offsets(self, raster)
        nearness = -2.0 * (distances / self.radius) ** 2
        reach = np.abs(places).max(axis=0)

        # written out: scikit-image's is for two axes, and ITK's took 29 times as long
        def filtered(values: NDArray[np.float32]) -> NDArray[np.float32]:
            wide = np.pad(values, [(int(one), int(one)) for one in reach], mode="edge")
            total, weights = np.zeros_like(values), np.zeros_like(values)
            for place, near in zip(places + reach, nearness, strict=True):
                start = zip(place, values.shape, strict=True)
                other = wide[tuple(slice(int(one), int(one) + count) for one, count in start)]
                weight = (other - values) / np.float32(self.sigma_value)
                weight *= weight * np.float32(-0.5)
                weight += np.float32(near)
                np.exp(weight, out=weight)
                weights += weight
                weight *= other
                total += weight
            return np.asarray(total / weights)

        return raster.with_values(_by_slabs(raster.values(), int(reach[0]), filtered, checkpoint))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NonLocalMeans(Step):
    """A mean of voxels whose surroundings look alike (Buades, Coll, Morel, CVPR 2005).

    Patches are compared voxel by voxel, so of thick slices each is better taken for itself.
    """

    #: how unlike patches may be, in the unit of the image; about the noise
    strength: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    #: standard deviation of the noise, by which patches may differ for nothing
    noise: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    #: side of a patch, and how far away others are looked for
    patch_voxels: int = Field(default=3, ge=1, le=15)
    distance_voxels: int = Field(default=5, ge=1, le=21)
    slicewise: bool = True

    def apply(self, raster: Raster, checkpoint: Checkpoint) -> Raster:
        """See ``Step.apply``."""
        values = raster.values()
        if self.slicewise or raster.has_frames:
            for plane in values:
                checkpoint()
                plane[...] = self._denoised(plane)
            return raster.with_values(values)
        halo = self.distance_voxels + self.patch_voxels
        return raster.with_values(_by_slabs(values, halo, self._denoised, checkpoint))

    def _denoised(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        from skimage import restoration

        denoised = restoration.denoise_nl_means(
            values,
            patch_size=self.patch_voxels,
            patch_distance=self.distance_voxels,
            h=self.strength,
            sigma=self.noise,
            preserve_range=True,
        )
        return np.asarray(denoised, np.float32)


def _by_slabs(
    values: NDArray[np.float32],
    halo: int,
    function: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    checkpoint: Checkpoint,
) -> NDArray[np.float32]:
    """Filter some slices at a time, which looks no further than ``halo`` slices, as if at once."""
    made = np.empty_like(values)
    # with a halo on either side, half of what is computed is kept at least
    step = max(_SLAB, 2 * halo)
    for first in range(0, len(values), step):
        checkpoint()
        past, start = min(len(values), first + step), max(0, first - halo)
        slab = function(values[start : past + halo])
        made[first:past] = slab[first - start : past - start]
    return made
