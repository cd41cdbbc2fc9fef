"""Steps that mend a mask."""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

import cc3d
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass
from scipy import ndimage

from pipeline.preprocess.balls import ROUNDING, Ball
from pipeline.preprocess.raster import STRICT, Checkpoint, Raster, Step, parts
from pipeline.preprocess.regions import Connected, components

Mask: TypeAlias = NDArray[np.bool_]


class _Morphology(Step):
    takes: ClassVar[Literal["mask"]] = "mask"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Open(_Morphology, Ball):
    """Take away what a ball does not fit into. Beyond the image the mask goes on as it ends."""

    def apply(self, raster: Raster, checkpoint: Checkpoint) -> Raster:
        """See ``Step.apply``."""
        # what the complement's holes are closed by, the mask is opened by
        return raster.with_mask(~_closed(self, raster, raster.array == 0, checkpoint))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Close(_Morphology, Ball):
    """Fill what a ball does not fit into. Beyond the image the mask goes on as it ends."""

    def apply(self, raster: Raster, checkpoint: Checkpoint) -> Raster:
        """See ``Step.apply``."""
        return raster.with_mask(_closed(self, raster, raster.array > 0, checkpoint))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FillHoles(_Morphology):
    """Fill what the mask encloses; voxels that share a face are neighbours."""

    slicewise: bool = False

    def apply(self, raster: Raster, checkpoint: Checkpoint) -> Raster:
        """See ``Step.apply``."""
        mask = raster.array > 0
        for part in parts(mask, planes=self.slicewise or raster.has_frames):
            checkpoint()
            part[...] = ndimage.binary_fill_holes(part)
        return raster.with_mask(mask)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Largest(_Morphology):
    """Keep the largest components, of an image those of each frame. Of equals the first counts."""

    count: int = Field(default=1, ge=1, le=1000)
    connected_by: Connected = "faces"

    def apply(self, raster: Raster, checkpoint: Checkpoint) -> Raster:
        """See ``Step.apply``."""
        mask, regions = raster.array > 0, 0
        for part in parts(mask, planes=raster.has_frames):
            checkpoint()
            labels = components(part, self.connected_by)
            sizes = cc3d.statistics(labels)["voxel_counts"].astype(np.int64)
            sizes[0] = 0
            kept = np.zeros(len(sizes), bool)
            kept[np.argsort(-sizes, kind="stable")[: self.count]] = True
            kept[sizes == 0] = False
            part[...] = kept[labels]
            regions += int(kept.sum())
        return raster.with_mask(mask, regions=regions)


def _closed(ball: Ball, raster: Raster, mask: Mask, checkpoint: Checkpoint) -> Mask:
    """Return a mask dilated and eroded by a ball, by distances: a ball in mm has no steps."""
    along, radius = np.array(ball.voxel(raster)), ball.radius * (1 + ROUNDING)
    is_flat = bool(np.isinf(along[0]))
    for part in parts(mask, planes=is_flat):
        checkpoint()
        part[...] = _closed_by(part, radius, along[1:] if is_flat else along)
    return mask


def _closed_by(mask: Mask, radius: float, voxel: NDArray[np.float64]) -> Mask:
    if mask.all() or not mask.any():
        return mask
    # held edges: what lies at the border is neither closed against nothing nor opened by it
    more = [int(radius / length) + 1 for length in voxel]
    wide = np.pad(mask, [(one, one) for one in more], mode="edge")
    grown = ndimage.distance_transform_edt(~wide, sampling=voxel) <= radius
    if grown.all():
        return np.ones_like(mask)
    closed = ndimage.distance_transform_edt(grown, sampling=voxel) > radius
    return np.asarray(closed[tuple(slice(one, -one) for one in more)])
