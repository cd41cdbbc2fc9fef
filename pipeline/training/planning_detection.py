"""What an automatic recipe of a detection decides, from what its cases and their boxes look like.

The network is a RetinaNet whose pyramid begins where the smallest usual boxes are a few cells wide.
Its anchors are those of ``planning_anchors``. The grid is that of segmentations, and a patch is the
whole image where memory allows. Labels count alike, however many boxes they have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.training import planning_anchors, planning_costs
from pipeline.training.fields import HIT_IOU
from pipeline.training.planning_boxes import SeenBoxes, Sides
from pipeline.training.planning_costs import Budget, Cost
from pipeline.training.planning_segmentation import (
    Seen,
    has_sides,
    median_extent,
    median_spacing,
)

#: percentiles between which the boxes of a label are usual
_USUAL: Final = (10, 95)
#: cells of the finest level that the smallest usual boxes are wide at least: about two
_CELLS: Final = 1.75
#: a level has cells of 2 to the power of this many voxels
_FINEST: Final = (1, 4)
#: of the network: its stages, and from which level on its first convolution divides by 4
_STAGES, _COARSE = 4, 3
#: feature maps of the first stage that are tried, by axes; of stages, and of the pyramid, as many
#: times as many
_WIDTHS: Final[Mapping[int, Sequence[int]]] = {2: (32, 24, 16), 3: (24, 16, 8)}
_OF_STAGES, _OF_THE_PYRAMID = (1, 2, 3, 4), 2
_LARGEST_SIDE: Final = 1024
#: a patch is so many times as long as the largest usual boxes, where the image is
_ROOM: Final = 2.0
_OVERLAPS: Final = (0.25, 0.5)
_LARGEST_BATCH: Final = 4
#: patches that a training sees in all, and by how little it may have to do with less
_PATCHES, _ENOUGH = 4_000, 0.5
_FEWEST_EPOCHS, _MOST_EPOCHS = 5, 300
_MOST_PATCHES: Final = 8
#: voxels are not turned where some of their sides are so many times longer
_COARSER: Final = 2.0
#: a box is hit by one that lies so many voxels away along each axis, or overlaps it by half
_AWAY, _HALF = 2.0, 0.5
#: of two answers the better one stays where they overlap by more: in pictures things hide others
_NMS_IOU: Final[Mapping[int, float]] = {2: 0.5, 3: 0.2}
_MOST_BOXES: Final = (100, 1000)


@dataclass(frozen=True, kw_only=True)
class _Boxes:
    """The boxes in voxels of the grid."""

    sides: Sides
    #: of each box, so that labels count alike; their sum is 1
    weights: NDArray[np.float64]
    #: widths of the smallest and of the largest usual boxes
    small: float
    large: float
    #: their sides along each axis
    least: NDArray[np.float64]
    reach: NDArray[np.float64]

    @classmethod
    def on(cls, spacing: Sequence[float] | None, boxes: SeenBoxes) -> _Boxes:
        """Bring boxes to a grid; None = they are in its voxels.

        Of what is larger than any patch no more than a patch is ever seen.
        """
        every = (sides / np.asarray(spacing or 1.0) for sides in boxes.sides.values())
        labels = [np.minimum(sides, _LARGEST_SIDE) for sides in every]
        usual = [np.percentile(_widths(sides), _USUAL) for sides in labels]
        low, high = np.swapaxes([np.percentile(one, _USUAL, axis=0) for one in labels], 0, 1)
        return cls(
            sides=np.concatenate(labels),
            weights=np.concatenate(
                [np.full(len(sides), 1 / len(sides) / len(labels)) for sides in labels]
            ),
            small=float(min(smallest for smallest, _ in usual)),
            large=float(max(largest for _, largest in usual)),
            least=low.min(axis=0),
            reach=high.max(axis=0),
        )


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """A network but for its width, and the image that it is for."""

    seen: Seen
    extent: Sequence[int]
    boxes: _Boxes
    stride: int
    finest: int
    stages: int
    anchors: Sequence[Sequence[int]]

    @property
    def multiple(self) -> int:
        """Voxels of the coarsest cell: patches are whole multiples of it."""
        return int(self.stride * 2 ** (self.stages - 1))

    def network(self, width: int) -> dict[str, Any]:
        """Return the name and the arguments of the network."""
        return {
            "name": "RetinaNet",
            "arguments": {
                "spatial_dims": len(self.extent),
                "in_channels": self.seen.channels,
                "num_classes": len(self.seen.names),
                "features": [width * times for times in _OF_STAGES[: self.stages]],
                "pyramid_channels": width * _OF_THE_PYRAMID,
                "stride": self.stride,
                "finest": self.finest,
                "anchor_shapes": [[*anchor] for anchor in self.anchors],
            },
        }

    def patch(self, most_voxels: float) -> tuple[int, ...]:
        """Return the image, or what of it has so many voxels and has room for boxes."""
        step = self.multiple
        size = [self._up(min(side, _LARGEST_SIDE)) for side in self.extent]
        least = [
            min(self._up(_ROOM * side), whole)
            for side, whole in zip(self.boxes.reach, size, strict=True)
        ]
        while math.prod(size) > most_voxels:
            longer = [axis for axis in range(len(size)) if size[axis] > least[axis]]
            if not longer:
                break
            # the axis of which most is seen gives first
            size[max(longer, key=lambda axis: (size[axis] / self.extent[axis], size[axis]))] -= step
        return tuple(size)

    def _up(self, side: float) -> int:
        return math.ceil(max(side, 8) / self.multiple) * self.multiple


@dataclass(frozen=True, kw_only=True)
class _Choice:
    width: int
    size: tuple[int, ...]
    cost: Cost
    #: patches that there is time for
    total: float


def plan(seen: Seen, boxes: SeenBoxes, cases: int, budget: Budget) -> dict[str, Any]:
    """Return the fields of a recipe that follow from what is seen.

    Args:
        seen: images of the training part.
        boxes: of the training part.
        cases: how many there are in the training part, at least one.
        budget: what the training may use.

    """
    spacing = median_spacing(seen)
    shape = _shape(seen, median_extent(seen, spacing), _Boxes.on(spacing, boxes))
    chosen = _chosen(shape, budget)
    total = min(chosen.total, _PATCHES)
    parts = min(math.prod(shape.extent) / math.prod(chosen.size), _MOST_PATCHES)
    patches = max(round(min(parts, total / cases / _FEWEST_EPOCHS)), 1)
    epochs = int(np.clip(round(total / cases / patches), _FEWEST_EPOCHS, _MOST_EPOCHS))
    fitting = int(budget.memory / chosen.cost.bytes)
    return {
        "network": shape.network(chosen.width),
        "input": _input(shape, chosen.size, spacing),
        "loss": "focal",
        "optimiser": {
            "name": "adamw",
            "learning_rate": 0.002,
            "weight_decay": 0.02,
            "warm_up": 1,
            "clip": 5,
            "ema": 0.99,
        },
        "epochs": epochs,
        # as many as fit, and no more than a part of the cases
        "batch": max(min(fitting, _LARGEST_BATCH, max(cases // 4, 2)), 1),
        "patches": patches,
        "foreground": 0.7 if parts > 1 else 0.0,
        "augmentation": _augmentation(seen, spacing),
        "validate_every": max(epochs // 8, 1),
        "evaluation": {"hit_iou": _hit_iou(shape.boxes)},
        "options": {
            "score_threshold": 0.05,
            "nms_iou": _NMS_IOU[len(shape.extent)],
            "maximum": int(np.clip(2 * boxes.most, *_MOST_BOXES)),
        },
    }


def _shape(seen: Seen, extent: Sequence[int], boxes: _Boxes) -> _Shape:
    """Let the pyramid begin where small boxes are some cells wide, with a level for each octave."""
    cell = int(np.clip(np.floor(np.log2(boxes.small / _CELLS)), *_FINEST))
    stride = 4 if cell >= _COARSE else 2
    finest = cell - int(math.log2(stride))
    octaves = 1 + int(math.log2(boxes.large / boxes.small))
    levels = min(max(octaves, 2), _STAGES - finest)
    return _Shape(
        seen=seen,
        extent=extent,
        boxes=boxes,
        stride=stride,
        finest=finest,
        stages=finest + levels,
        anchors=planning_anchors.fit(boxes.sides, boxes.weights, levels),
    )


def _chosen(shape: _Shape, budget: Budget) -> _Choice:
    """Return the widest network that memory and time are enough for.

    If there is none, it is the narrowest, and less is seen at once.
    """
    for width in _WIDTHS[len(shape.extent)]:
        block = (shape.multiple,) * len(shape.extent)
        # convolutions: what they cost grows with the voxels
        cost = planning_costs.of(shape.network(width), block, "cpu").times(1 / math.prod(block))
        chosen = _choice(shape, width, cost, budget, budget.memory / 2 / cost.bytes)
        if chosen.total >= _ENOUGH * _PATCHES and 2 * chosen.cost.bytes <= budget.memory:
            return chosen
    affordable = budget.operations / (_ENOUGH * _PATCHES) / cost.operations
    return _choice(shape, width, cost, budget, min(affordable, budget.memory / 2 / cost.bytes))


def _choice(
    shape: _Shape, width: int, of_voxel: Cost, budget: Budget, most_voxels: float
) -> _Choice:
    size = shape.patch(most_voxels)
    cost = of_voxel.times(math.prod(size))
    return _Choice(width=width, size=size, cost=cost, total=budget.operations / cost.operations)


def _input(shape: _Shape, size: Sequence[int], spacing: Sequence[float] | None) -> dict[str, Any]:
    """Return patch and grid; windows overlap so that usual boxes are whole in one of them."""
    shares = [
        reach / side
        for reach, side, whole in zip(shape.boxes.reach, size, shape.extent, strict=True)
        if side < whole
    ]
    return {
        "size": [*size],
        "overlap": round(float(np.clip(max(shares, default=0.0), *_OVERLAPS)), 2),
        **({} if spacing is None else {"spacing": [round(step, 4) for step in spacing]}),
    }


def _augmentation(seen: Seen, spacing: Sequence[float] | None) -> dict[str, Any]:
    is_coarse = spacing is not None and max(spacing) > _COARSER * min(spacing)
    return {
        # mirrored, the left one would be called right
        "flip": 0.0 if has_sides(seen.names) else 0.5,
        # voxels count as equally long
        "rotate": 0 if is_coarse else 15,
        "zoom": 0.25,
        "scale": 0.15,
        "shift": 0.05,
        "contrast": 0.3,
    }


def _hit_iou(boxes: _Boxes) -> float:
    """Return how much a small box overlaps itself some voxels away; a half is always enough."""
    shared = float(np.maximum(1.0 - _AWAY / boxes.least, 0.0).prod())
    return round(float(np.clip(shared / (2.0 - shared), HIT_IOU, _HALF)), 2)


def _widths(sides: Sides) -> NDArray[np.float64]:
    """Return the side of the square or cube of the same size; of a flat box twice the shortest."""
    means = np.exp(np.log(sides).mean(axis=1))
    return np.asarray(np.minimum(means, 2.0 * sides.min(axis=1)))
