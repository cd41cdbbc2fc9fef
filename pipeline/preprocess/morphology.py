"""Steps that mend a mask."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Final, Literal, TypeAlias

import cc3d
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass
from scipy import ndimage

from pipeline.preprocess.balls import ROUNDING, Ball, offsets, reach
from pipeline.preprocess.raster import STRICT, Checkpoint, Raster, Step, parts
from pipeline.preprocess.regions import Connected, components

Mask: TypeAlias = NDArray[np.bool_]
#: voxels of the cube about a ball up to which shifting a mask is faster than measuring distances
_SHIFTED: Final = 1000


class _Morphology(Step):
    takes: ClassVar[Literal["mask"]] = "mask"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Open(_Morphology, Ball):
    """Take away what a ball does not fit into. Beyond the image the mask goes on as it ends."""

    def apply(self, raster: Raster, checkpoint: Checkpoint) -> Raster:
        """See ``Step.apply``."""
        # what closes the background opens the mask
        return raster.with_mask(_mended(self, raster, checkpoint, closes=False))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Close(_Morphology, Ball):
    """Fill what a ball does not fit into. Beyond the image the mask goes on as it ends."""

    def apply(self, raster: Raster, checkpoint: Checkpoint) -> Raster:
        """See ``Step.apply``."""
        return raster.with_mask(_mended(self, raster, checkpoint, closes=True))


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


def _mended(ball: Ball, raster: Raster, checkpoint: Checkpoint, *, closes: bool) -> Mask:
    """Close a mask by a ball, or its background, within the box of the mask."""
    mask, is_flat = raster.array > 0, bool(np.isinf(ball.voxel(raster)[0]))
    dilated, more = _dilation(ball, raster, is_flat=is_flat)
    for part in parts(mask, planes=is_flat):
        checkpoint()
        if not part.any():
            continue
        # a voxel wider, so that what lies about the mask is there to go on at the edges
        (box,) = ndimage.find_objects(part.view(np.uint8))
        box = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)
        kept = tuple(slice(one, -one or None) for one in more)
        wide = np.pad(part[box] == closes, [(one, one) for one in more], mode="edge")
        part[box] = ~dilated(~dilated(wide))[kept] == closes
    return mask


def _dilation(
    ball: Ball, raster: Raster, *, is_flat: bool
) -> tuple[Callable[[Mask], Mask], tuple[int, ...]]:
    """Return what dilates a mask of two or three axes by a ball, and how far that reaches."""
    more = reach(ball, raster)
    first = 1 if is_flat else 0
    if math.prod(2 * one + 1 for one in more) > _SHIFTED:
        along, radius = ball.voxel(raster)[first:], ball.radius * (1 + ROUNDING)

        def by_distance(mask: Mask) -> Mask:
            if not mask.any():
                return mask
            away = ndimage.distance_transform_edt(~mask, sampling=along)
            return np.asarray(away <= radius)

        return by_distance, more[first:]
    places = offsets(ball, raster)[0][:, first:]

    def by_shifts(mask: Mask) -> Mask:
        made = mask.copy()
        for place in places:
            to = tuple(slice(max(0, one), min(0, one) or None) for one in place)
            of = tuple(slice(max(0, -one), min(0, -one) or None) for one in place)
            made[to] |= mask[of]
        return made

    return by_shifts, more[first:]
