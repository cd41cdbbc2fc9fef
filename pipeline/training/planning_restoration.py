"""What an automatic recipe of a restoration decides, from what its cases look like.

The network is EDSR, which answers finer than it sees, or on the same grid with what noise has to be
taken away. Volumes of voxels that are about as long as wide are restored in three axes, others
slice by slice with the slices beside. It is as large as the time allows for as many voxels as
learning takes; nothing is timed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pipeline.training import planning_costs
from pipeline.training.fields import DegradationField
from pipeline.training.planning_costs import Budget, Cost
from pipeline.training.planning_segmentation import Seen, median_extent, median_spacing

#: what EDSR can undo
LARGEST_SCALE: Final = 4
#: voxels are even where none of their sides is so many times longer than another
_UNEVEN: Final = 2.0
#: slices beside the one that is restored, on either side
_BESIDE: Final = 2
#: feature maps and blocks that are tried, the largest first, by axes
_NETWORKS: Final[Mapping[int, Sequence[tuple[int, int]]]] = {
    2: ((48, 16), (32, 12), (32, 8), (24, 6), (16, 4)),
    3: ((32, 8), (24, 6), (16, 4), (8, 3)),
}
#: wide networks learn in smaller steps
_WIDE, _RATES = 32, (0.0015, 0.001)
#: sides of patches on the grid that is seen, the largest first; where that is the coarser one,
#: the first is left out
_SIDES: Final[Mapping[int, Sequence[int]]] = {2: (48, 32, 16, 8), 3: (24, 16, 12, 8)}
_OVERLAP: Final = 0.25
_LARGEST_BATCH: Final = 8
#: voxels that a training sees in all, and by how little it may have to do with less
_VOXELS, _ENOUGH = 80e6, 0.5
_FEWEST_EPOCHS, _MOST_EPOCHS, _MOST_PATCHES = 10, 300, 1000
#: looks at the validation part at most, and of the time for learning
_LOOKS, _LOOKING = 20, 0.25


@dataclass(frozen=True, kw_only=True)
class _Task:
    """What is restored."""

    channels: int
    #: voxels of the median image as it is seen: (slices, rows, columns), or (rows, columns)
    extent: Sequence[int]
    dims: int
    scale: int

    @classmethod
    def of(cls, seen: Seen, scale: int) -> _Task:
        """Look at images as they should be."""
        extent, spacing = median_extent(seen, None), median_spacing(seen)
        is_even = spacing is not None and max(spacing) < _UNEVEN * min(spacing)
        is_deep = len(extent) == 3 and min(extent) >= scale * _SIDES[3][1]
        dims = 3 if is_even and is_deep else 2
        kept = [1] * (len(extent) - dims) + [scale] * dims
        return cls(
            channels=seen.channels,
            extent=[max(n // times, 1) for n, times in zip(extent, kept, strict=True)],
            dims=dims,
            scale=scale,
        )

    @property
    def beside(self) -> int:
        """Slices on either side that are seen too."""
        is_sliced = len(self.extent) > self.dims
        return min(_BESIDE, (self.extent[0] - 1) // 2) if is_sliced else 0

    def network(self, features: int, blocks: int) -> dict[str, Any]:
        """Return the name and the arguments of the network."""
        return {
            "name": "EDSR",
            "arguments": {
                "spatial_dims": self.dims,
                "in_channels": self.channels * (2 * self.beside + 1),
                "out_channels": self.channels,
                "scale": self.scale,
                "features": features,
                "blocks": blocks,
                "mean": 0.5,
                "direct": self.scale > 1,
            },
        }

    def size(self, most_voxels: float) -> tuple[int, ...]:
        """Return the largest patch of so many voxels, or the smallest that is tried."""
        sides = _SIDES[self.dims][1 if self.scale > 1 else 0 :]
        sizes = [
            tuple(max(min(side, extent), sides[-1]) for extent in self.extent[-self.dims :])
            for side in sides
        ]
        return next((size for size in sizes if math.prod(size) <= most_voxels), sizes[-1])


@dataclass(frozen=True, kw_only=True)
class _Choice:
    features: int
    network: Mapping[str, Any]
    size: tuple[int, ...]
    cost: Cost
    #: patches that are seen in all
    total: float


def plan(
    seen: Seen, degradation: DegradationField, cases: int, validated: int, budget: Budget
) -> dict[str, Any]:
    """Return the fields of a recipe that follow from what is seen.

    Args:
        seen: images of the training part, with all axes that they have.
        degradation: that is undone.
        cases: how many there are in the training part, at least one.
        validated: how many there are in the validation part.
        budget: what the training may use.

    """
    task = _Task.of(seen, degradation.downsample)
    chosen = _chosen(task, budget)
    parts = min(math.prod(task.extent) / math.prod(chosen.size), _MOST_PATCHES)
    patches = max(round(min(parts, chosen.total / cases / _FEWEST_EPOCHS)), 1)
    epochs = int(np.clip(round(chosen.total / cases / patches), _FEWEST_EPOCHS, _MOST_EPOCHS))
    options = {"scale": task.scale, "residual": True}
    return {
        "network": chosen.network,
        "input": {
            "spatial_dims": task.dims,
            "size": [*chosen.size],
            "overlap": _OVERLAP,
            # what is bright is restored, not cut off
            "percentiles": [0.0, 99.9],
        },
        "loss": "l2",
        "optimiser": {
            "name": "adam",
            "learning_rate": _RATES[chosen.features > _WIDE],
            "weight_decay": 0,
            "warm_up": 1,
            "ema": 0.998,
        },
        "epochs": epochs,
        "batch": max(min(int(budget.memory / chosen.cost.bytes), _LARGEST_BATCH), 1),
        "patches": patches,
        "foreground": 0.9,
        "augmentation": {"flip": 0.5, "scale": 0.2, "shift": 0.1, "contrast": 0.2},
        "validate_every": math.ceil(epochs / _looks(task, chosen, validated, budget)),
        "options": options | ({"beside": task.beside} if task.beside else {}),
    }


def _chosen(task: _Task, budget: Budget) -> _Choice:
    """Return the largest network that there is time for, or else the smallest."""
    for features, blocks in _NETWORKS[task.dims]:
        network = task.network(features, blocks)
        block = (8,) * task.dims
        # convolutions: what they cost grows with the voxels
        of_voxel = planning_costs.of(network, block).times(1 / math.prod(block))
        size = task.size(budget.memory / 2 / of_voxel.bytes)
        voxels = min(budget.operations / of_voxel.operations, _VOXELS)
        chosen = _Choice(
            features=features,
            network=network,
            size=size,
            cost=of_voxel.times(math.prod(size)),
            total=voxels / math.prod(size),
        )
        if voxels >= _ENOUGH * _VOXELS:
            break
    return chosen


def _looks(task: _Task, chosen: _Choice, validated: int, budget: Budget) -> int:
    """Return how often there is time to restore the validation part: forward, with overlaps."""
    windows = math.prod(task.extent) / math.prod(chosen.size) / (1 - _OVERLAP) ** task.dims
    once = max(validated, 1) * windows * chosen.cost.operations / 3
    return int(np.clip(_LOOKING * budget.operations / once, 1, _LOOKS))
