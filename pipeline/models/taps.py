"""Where the voxels of a volume lie between those of the network's grid, axis by axis."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from pipeline.models.grids import Grid


@dataclass(frozen=True, kw_only=True)
class Taps:
    """For each voxel of a source axis inside the kept grid: two neighbours and their weights."""

    #: first and past the last source voxel that any kept voxel reaches
    first: int
    past: int
    lower: Tensor
    upper: Tensor
    #: weights of both neighbours; outside of what was kept the logits are 0, as MONAI pads them
    lower_weight: Tensor
    upper_weight: Tensor

    @cached_property
    def is_identity(self) -> bool:
        """Whether every source voxel is a grid voxel, in order."""
        count = len(self.lower)
        return bool(
            (self.upper_weight == 0).all()
            and (self.lower_weight == 1).all()
            and (self.lower == torch.arange(count, device=self.lower.device)).all()
        )


def taps_of(grid: Grid, axis: int, part: slice, device: torch.device) -> Taps:
    """Return the taps of the source axis that runs along a network axis, within ``part`` of it."""
    positions, count = grid.from_source(axis), grid.shape[axis]
    # what lies beside the kept grid, but by less than a voxel, fades out at its border
    after = positions > -1 if part.start == 0 else positions >= part.start
    before = positions < count if part.stop == count else positions < part.stop - 1
    reached = np.flatnonzero(after & before)
    if reached.size == 0:
        none = torch.zeros(0)
        return Taps(first=0, past=0, lower=none, upper=none, lower_weight=none, upper_weight=none)
    inside = positions[reached]
    whole = np.floor(inside)
    share = (inside - whole).astype(np.float32)
    lower = whole.astype(np.int64) - part.start
    last = part.stop - part.start - 1
    lower_weight = np.where(lower >= 0, 1 - share, 0).astype(np.float32)
    upper_weight = np.where(lower < last, share, 0).astype(np.float32)
    return Taps(
        first=int(reached[0]),
        past=int(reached[-1]) + 1,
        lower=torch.from_numpy(lower.clip(0)).to(device),
        upper=torch.from_numpy((lower + 1).clip(max=last)).to(device),
        lower_weight=torch.from_numpy(lower_weight).to(device),
        upper_weight=torch.from_numpy(upper_weight).to(device),
    )


def reach(taps: Taps) -> Tensor:
    """Return how much of each source voxel the kept grid reaches: below 1 at its border alone.

    There logits fade to 0, which leaves the largest the largest but would make all classes
    equally probable; divided by this they are those of the border itself.
    """
    return taps.lower_weight + taps.upper_weight
