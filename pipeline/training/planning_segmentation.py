"""What an automatic recipe of a segmentation decides, from what its cases look like.

The rules are nnU-Net's (Isensee et al., Nature Methods 2021): the grid is the median of the
spacings, a patch holds as much of an image as memory allows, axes are halved as long as there is
something left to halve, coarse axes later than fine ones. It is as wide as time allows for as many
patches as learning takes. Counted for float32 on whatever device.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pipeline.volume import Input, Volume

#: an axis is coarse where its voxels are so many times longer than those of the finest
_COARSE: Final = 3.0
#: axes are halved together while their voxels differ by less than this
_TOGETHER: Final = 2.0
#: of a coarse axis this percentile of the spacings is taken, not the median
_FINER: Final = 10
#: shortest side of the coarsest feature map, and the most times an axis is halved
_LEAST_SIDE, _MOST_HALVINGS = 4, 5
#: feature maps of the finest level that are tried, and at most of any level, by axes
_WIDTHS: Final = (32, 16, 8)
_MOST_FEATURES: Final[Mapping[int, int]] = {2: 512, 3: 320}
#: feature maps that learning keeps, in each level: those of four convolutions, norms, activations,
#: the joined half of the decoder, and the gradients of all
_KEPT: Final = 16
_LARGEST_BATCH: Final = 8
_LARGEST_SIDE: Final = 512
#: patches that a training sees in all, and by how little it may have to do with less
_PATCHES, _ENOUGH = 6_000, 0.5
_MOST_EPOCHS: Final = 500
#: operations of learning for each voxel, weight of a kernel and two features: the four convolutions
#: of a level and its way up, two operations each, and twice that for the gradients
_OPERATIONS: Final = 27


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the training part looks like, case by case."""

    #: voxels along (slices, rows, columns) of volumes, (rows, columns) of single images
    shapes: Sequence[tuple[int, ...]]
    #: mm along the same axes; None where images do not state it, or are single
    spacings: Sequence[tuple[float, ...]] | None
    channels: int
    #: of the labels and the background
    classes: int
    #: names of the labels
    names: Sequence[str]


def look(
    images: Iterable[Input], *, spatial_dims: int, channels: int, names: Sequence[str]
) -> Seen:
    """Look at the images of the training part, one after the other.

    Args:
        images: volumes, loops or single images; of a network of two axes all of them.
        spatial_dims: axes of the network: two of a volume are those of its slices; the first of
            three of a loop is time.
        channels: of the network's input.
        names: of the labels, without the background.

    """
    shapes: list[tuple[int, ...]] = []
    spacings: list[tuple[float, ...]] = []
    for image in images:
        if isinstance(image, Volume):
            shapes.append(image.stored.shape[-spatial_dims:])
            spacings.append(image.spacing[-spatial_dims:])
        else:
            shapes.append(image.pixels.shape[3 - spatial_dims : 3])
    return Seen(
        shapes=shapes,
        # single images state no place in the patient
        spacings=spacings if len(spacings) == len(shapes) else None,
        channels=channels,
        classes=len(names) + 1,
        names=names,
    )


def plan(
    seen: Seen, memory: int, *, cases: int | None = None, operations: float = math.inf
) -> dict[str, Any]:
    """Return the fields of a recipe that follow from what is seen.

    Args:
        seen: the training part, or some of it.
        memory: bytes that a step of learning may use.
        cases: of the training part; None = all of them were seen.
        operations: that there is time for.

    """
    cases = len(seen.shapes) if cases is None else cases
    spacing = median_spacing(seen)
    extent = median_extent(seen, spacing)
    for width in _WIDTHS:
        shape = _fitting(extent, spacing, width, memory)
        total = min(operations / shape.operations, _PATCHES)
        if total >= _ENOUGH * _PATCHES:
            break
    patches = min(max(round(math.prod(extent) / math.prod(shape.size)), 1), 8)
    epochs = min(max(round(total / (cases * patches)), 1), _MOST_EPOCHS)
    return {
        "network": {"name": "DynUNet", "arguments": shape.network(seen)},
        "input": {
            "size": [*shape.size],
            **({} if spacing is None else {"spacing": [round(step, 4) for step in spacing]}),
        },
        "loss": "dice-cross-entropy",
        "deep_supervision": min(max(len(shape.levels) - 2, 0), 2),
        "optimiser": {"name": "adamw", "learning_rate": 0.002, "weight_decay": 0.01, "ema": 0.99},
        "epochs": epochs,
        # as many as fit, and no more than a part of the cases
        "batch": min(max(memory // shape.bytes, 2), _LARGEST_BATCH, max(cases // 4, 2)),
        "patches": patches,
        "foreground": 0.5,
        "balanced": len(seen.names) > 1,
        "augmentation": _augmentation(seen, len(shape.size)),
        "validate_every": min(max(epochs // 4, 1), 5),
    }


def _augmentation(seen: Seen, dims: int) -> dict[str, Any]:
    return {
        # mirrored, the left one would be called right
        "flip": 0.0 if has_sides(seen.names) else 0.5,
        "rotate": 45 if dims == 2 else 15,
        "zoom": 0.25,
        "noise": 0.03,
        "scale": 0.2,
        "shift": 0.1,
        "contrast": 0.3,
    }


def has_sides(names: Sequence[str]) -> bool:
    """Say whether one side of a patient has another name than the other."""
    return any(side in name.lower() for name in names for side in ("left", "right"))


def median_spacing(seen: Seen) -> tuple[float, ...] | None:
    """Return the median along each axis; finer than that along one that is coarse."""
    if seen.spacings is None:
        return None
    every = np.asarray(seen.spacings, float)
    median = np.median(every, axis=0)
    coarse = int(median.argmax())
    others = np.delete(median, coarse)
    if median[coarse] > _COARSE * others.min():
        median[coarse] = max(np.percentile(every[:, coarse], _FINER), others.max())
    return tuple(float(step) for step in median)


def median_extent(seen: Seen, spacing: Sequence[float] | None) -> tuple[int, ...]:
    """Return the median image, in voxels of the grid."""
    shapes = np.asarray(seen.shapes, float)
    if spacing is not None and seen.spacings is not None:
        shapes = shapes * np.asarray(seen.spacings, float) / np.asarray(spacing)
    return tuple(max(round(float(side)), 1) for side in np.median(shapes, axis=0))


@dataclass(frozen=True)
class _Level:
    """One level of the network: how it is reached from the one above, and its convolutions."""

    stride: tuple[int, ...]
    kernel: tuple[int, ...]


@dataclass(frozen=True)
class _Shape:
    """A network and the patch it learns from."""

    levels: Sequence[_Level]
    size: tuple[int, ...]
    #: feature maps of the finest level
    width: int

    @property
    def features(self) -> list[int]:
        """Feature maps of each level, the finest first."""
        most = _MOST_FEATURES[len(self.size)]
        return [min(self.width * 2**depth, most) for depth in range(len(self.levels))]

    @property
    def bytes(self) -> int:
        """What learning from one patch takes, roughly."""
        return sum(4 * _KEPT * voxels * features for voxels, features, _ in self._of_levels())

    @property
    def operations(self) -> int:
        """How much is computed to learn from one patch, roughly."""
        return sum(
            _OPERATIONS * voxels * features**2 * math.prod(level.kernel)
            for voxels, features, level in self._of_levels()
        )

    def network(self, seen: Seen) -> dict[str, Any]:
        """Return the arguments of the network."""
        return {
            "spatial_dims": len(self.size),
            "in_channels": seen.channels,
            "out_channels": seen.classes,
            "kernel_size": [[*level.kernel] for level in self.levels],
            "strides": [[*level.stride] for level in self.levels],
            "upsample_kernel_size": [[*level.stride] for level in self.levels[1:]],
            "filters": self.features,
        }

    def _of_levels(self) -> Iterator[tuple[int, int, _Level]]:
        """Yield voxels, feature maps and the level itself."""
        voxels = math.prod(self.size)
        for level, features in zip(self.levels, self.features, strict=True):
            voxels //= math.prod(level.stride)
            yield voxels, features, level


def _fitting(
    extent: Sequence[int], spacing: Sequence[float] | None, width: int, memory: int
) -> _Shape:
    """Return the network, and the patch: the whole image, or what of it two at a time fit."""
    wanted = [min(max(side, 8), _LARGEST_SIDE) for side in extent]
    while True:
        levels, size = _levels(wanted, spacing)
        shape = _Shape(levels, size, width)
        if 2 * shape.bytes <= memory or max(size) <= 2 * _LEAST_SIDE:
            return shape
        # the axis of which most is seen gives first
        axis = max(range(len(size)), key=lambda axis: (size[axis] / extent[axis], size[axis]))
        step = math.prod(level.stride[axis] for level in levels)
        wanted = [*size]
        wanted[axis] = max(size[axis] - step, 8)
        if wanted == [*size]:
            wanted = [max(side // 2, 8) for side in size]


def _levels(
    wanted: Sequence[int], spacing: Sequence[float] | None
) -> tuple[list[_Level], tuple[int, ...]]:
    """Halve what can be halved; return the levels and the patch, in whole multiples of them."""
    dims = len(wanted)
    steps, sides, halvings = np.asarray(spacing or [1.0] * dims), np.asarray(wanted), [0] * dims
    levels = [_Level((1,) * dims, _kernel(steps))]
    while True:
        is_fine = steps < _TOGETHER * steps[sides >= 2 * _LEAST_SIDE].min(initial=np.inf)
        halved = [
            bool(fine) and side >= 2 * _LEAST_SIDE and count < _MOST_HALVINGS
            for fine, side, count in zip(is_fine, sides, halvings, strict=True)
        ]
        if not any(halved):
            break
        factors = np.where(halved, 2, 1)
        halvings = [count + is_halved for count, is_halved in zip(halvings, halved, strict=True)]
        sides, steps = -(-sides // factors), steps * factors
        levels.append(_Level(tuple(int(factor) for factor in factors), _kernel(steps)))
    return levels, tuple(
        math.ceil(side / 2**count) * 2**count for side, count in zip(wanted, halvings, strict=True)
    )


def _kernel(steps: np.ndarray[Any, Any]) -> tuple[int, ...]:
    """Look at neighbours along an axis once its voxels are about as long as the others'."""
    return tuple(3 if step < _TOGETHER * steps.min() else 1 for step in steps)
