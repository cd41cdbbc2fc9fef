"""Steps that part an image: what belongs, and what does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, Self, TypeAlias

import cc3d
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from pipeline.errors import ModelMismatch
from pipeline.preprocess.raster import (
    STRICT,
    Checkpoint,
    Number,
    Raster,
    Sigma,
    Step,
    exactly_one,
    lengths,
    parts,
)

Mask: TypeAlias = NDArray[np.bool_]
Connected: TypeAlias = Literal["faces", "corners"]
#: by axes, as cc3d counts them
_NEIGHBOURS: Final[Mapping[tuple[int, Connected], Literal[4, 6, 8, 26]]] = {
    (2, "faces"): 4,
    (2, "corners"): 8,
    (3, "faces"): 6,
    (3, "corners"): 26,
}


class _Regions(Step):
    makes: ClassVar[Literal["mask"]] = "mask"
    keeps_unit: ClassVar[bool] = False


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Threshold(_Regions):
    """What lies between two values, both included."""

    minimum: Number | None = None
    maximum: Number | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.minimum is None and self.maximum is None:
            raise ValueError("it wants a minimum or a maximum")
        return self

    def apply(self, raster: Raster, checkpoint: Checkpoint) -> Raster:
        """See ``Step.apply``."""
        del checkpoint
        return raster.with_mask(_between(raster.values(), self.minimum, self.maximum))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Otsu(_Regions):
    """What lies on one side of the threshold that parts the histogram best.

    Otsu, IEEE Transactions on Systems, Man, and Cybernetics 9(1), 1979.
    """

    keep: Literal["above", "below"] = "above"
    bins: int = Field(default=256, ge=2, le=65536)

    def apply(self, raster: Raster, checkpoint: Checkpoint) -> Raster:
        """See ``Step.apply``."""
        from skimage import filters

        del checkpoint
        untyped: Any = filters
        values = raster.values()
        threshold = float(untyped.threshold_otsu(values, nbins=self.bins))
        is_above = values > threshold
        return raster.with_mask(is_above if self.keep == "above" else ~is_above, value=threshold)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Grow(_Regions):
    """Region growing: what lies between two values and is connected to a seed that does too.

    Seeds are the voxels of a range of their own, or the one at a point of the patient. Adams and
    Bischof, IEEE PAMI 16(6), 1994, with a range in place of a mean.
    """

    minimum: Number | None = None
    maximum: Number | None = None
    seed_minimum: Number | None = None
    seed_maximum: Number | None = None
    #: LPS
    seed_mm: tuple[Number, Number, Number] | None = None
    #: whether voxels that share a face are neighbours, or edges and corners too
    connected_by: Connected = "faces"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.minimum is None and self.maximum is None:
            raise ValueError("it wants a minimum or a maximum")
        has_range = self.seed_minimum is not None or self.seed_maximum is not None
        if has_range is (self.seed_mm is not None):
            raise ValueError("it wants seed_mm, or seed_minimum, seed_maximum or both")
        return self

    @property
    def takes_images(self) -> bool:
        """See ``Step.takes_images``."""
        return self.seed_mm is None

    def apply(self, raster: Raster, checkpoint: Checkpoint) -> Raster:
        """See ``Step.apply``."""
        values = raster.values()
        if self.seed_mm is None:
            seeds = _between(values, self.seed_minimum, self.seed_maximum)
        else:
            seeds = np.zeros(values.shape, bool)
            seeds[_voxel_at(raster, self.seed_mm)] = True
        mask, regions = _between(values, self.minimum, self.maximum), 0
        flat = raster.has_frames
        for part, seed in zip(parts(mask, planes=flat), parts(seeds, planes=flat), strict=True):
            checkpoint()
            labels = components(part, self.connected_by)
            grown = np.unique(labels[seed & part])
            part[...] = np.isin(labels, grown)
            regions += len(grown)
        return raster.with_mask(mask, regions=regions)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Canny(_Regions):
    """Edges, one pixel wide, in each slice for itself (Canny, IEEE PAMI 8(6), 1986)."""

    sigma_mm: Sigma | None = None
    sigma_voxels: Sigma | None = None
    #: an edge begins where the gradient is steeper than in this share of the slice's pixels,
    high: float = Field(default=0.95, gt=0, lt=1)
    #: and goes on as long as it is steeper than in this one
    low: float = Field(default=0.85, ge=0, lt=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        exactly_one(self, "sigma_mm", "sigma_voxels")
        if self.low > self.high:
            raise ValueError("low must not be above high")
        return self

    def apply(self, raster: Raster, checkpoint: Checkpoint) -> Raster:
        """See ``Step.apply``."""
        from skimage import feature

        untyped: Any = feature
        in_mm = self.sigma_mm is not None
        _, row, column = lengths(raster, in_mm=in_mm, slicewise=True)
        if abs(row - column) > 0.01 * row:
            raise ModelMismatch("canny reads square pixels; resample the image first")
        sigma = (self.sigma_mm or self.sigma_voxels or 0.0) / row
        values = raster.values()
        edges = np.zeros(values.shape, bool)
        for plane, edge in zip(values, edges, strict=True):
            checkpoint()
            edge[...] = untyped.canny(
                plane,
                sigma=sigma,
                low_threshold=self.low,
                high_threshold=self.high,
                use_quantiles=True,
                mode="nearest",
            )
        return raster.with_mask(edges)


def components(mask: Mask, connected_by: Connected) -> NDArray[Any]:
    """Number the components of a mask of two or three axes from 1."""
    connectivity = _NEIGHBOURS[mask.ndim, connected_by]
    return np.asarray(cc3d.connected_components(mask, connectivity=connectivity))


def _between(values: NDArray[np.float32], minimum: float | None, maximum: float | None) -> Mask:
    mask = np.ones(values.shape, bool)
    if minimum is not None:
        mask &= values >= minimum
    if maximum is not None:
        mask &= values <= maximum
    return mask


def _voxel_at(raster: Raster, point: tuple[float, float, float]) -> tuple[int, ...]:
    """Return the voxel that a point of the patient lies in."""
    if raster.affine is None:
        raise ModelMismatch("a seed lies in the patient, where the image has no place")
    index = (np.linalg.inv(raster.affine) @ [*point, 1.0])[:3]
    voxel = tuple(int(one) for one in np.floor(index + 0.5))
    if not all(0 <= one < count for one, count in zip(voxel, raster.shape, strict=True)):
        raise ModelMismatch("the seed of grow lies outside of the image")
    return voxel
