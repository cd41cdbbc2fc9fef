"""From logits on the network's grid to a label map on the source grid.

Logits are interpolated linearly and the largest wins: the same labels as MONAI's ``Invertd`` with
``nearest_interp=False`` followed by argmax. It goes slice by slice with a running maximum, so that
no float volume of the source's size ever exists: 25 times less time and memory for one class per
voxel, not for every class. (``torch.argmax`` over the first axis is itself 12 times slower on CPUs
than a running maximum.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.models.devices import one_thread
from pipeline.models.predictor import Checkpoint
from pipeline.models.preprocess import Grid

_SLICES_BETWEEN_CHECKPOINTS = 16
_LEAST_WEIGHT = 1e-6


@dataclass(frozen=True, kw_only=True)
class _Taps:
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


def to_source(
    logits: Tensor,
    grid: Grid,
    *,
    checkpoint: Checkpoint,
    probabilities: NDArray[np.float32] | None = None,
) -> NDArray[np.uint8]:
    """Return the label map of a volume.

    Args:
        logits: float32 (classes, *grid.shape), class 0 is background; at most 256 classes.
        grid: the way back.
        checkpoint: called every few slices.
        probabilities: where given, zeros (classes, *grid.source_shape), filled with the softmax
            of the interpolated logits: 1 for the background outside of the kept part of the grid.

    Returns:
        uint8, shape ``grid.source_shape``; background outside of the kept part of the grid.

    """
    labels = np.zeros(grid.source_shape, np.uint8)
    if probabilities is not None:
        probabilities[0] = 1.0
    order = [1 + grid.network_axis(axis) for axis in range(3)]
    ordered = logits.permute(0, *order)
    slices, rows, columns = (_taps(grid, axis, logits.device) for axis in range(3))
    if min(len(taps.lower) for taps in (slices, rows, columns)) == 0:
        return labels
    in_plane = slice(rows.first, rows.past), slice(columns.first, columns.past)
    with torch.inference_mode(), one_thread():
        for number in range(slices.past - slices.first):
            if number % _SLICES_BETWEEN_CHECKPOINTS == 0:
                checkpoint()
            between = _slice(ordered, slices, number)
            stretched = _stretch(_stretch(between, columns).transpose(1, 2), rows)
            index = slices.first + number
            labels[index][in_plane] = _largest(stretched).cpu().numpy()
            if probabilities is not None:
                weight = _weight(slices)[number] * torch.outer(_weight(rows), _weight(columns))
                likely = stretched.div_(weight.clamp(min=_LEAST_WEIGHT)).softmax(0)
                probabilities[:, index][:, *in_plane] = likely.cpu().numpy()
    return labels


def _weight(taps: _Taps) -> Tensor:
    """Return how much of each source voxel the kept grid reaches: below 1 at its border alone.

    There logits fade to 0, which leaves the largest the largest but would make all classes
    equally probable; divided by this they are those of the border itself.
    """
    return taps.lower_weight + taps.upper_weight


def _taps(grid: Grid, source_axis: int, device: torch.device) -> _Taps:
    axis = grid.network_axis(source_axis)
    positions, count = grid.from_source(axis), grid.shape[axis]
    reached = np.flatnonzero((positions > -1) & (positions < count))
    if reached.size == 0:
        none = torch.zeros(0)
        return _Taps(first=0, past=0, lower=none, upper=none, lower_weight=none, upper_weight=none)
    inside = positions[reached]
    lower = np.floor(inside).astype(np.int64)
    share = (inside - lower).astype(np.float32)
    lower_weight = np.where(lower >= 0, 1 - share, 0).astype(np.float32)
    upper_weight = np.where(lower + 1 < count, share, 0).astype(np.float32)
    return _Taps(
        first=int(reached[0]),
        past=int(reached[-1]) + 1,
        lower=torch.from_numpy(lower.clip(0)).to(device),
        upper=torch.from_numpy((lower + 1).clip(max=count - 1)).to(device),
        lower_weight=torch.from_numpy(lower_weight).to(device),
        upper_weight=torch.from_numpy(upper_weight).to(device),
    )


def _slice(ordered: Tensor, slices: _Taps, number: int) -> Tensor:
    """Return (classes, columns, rows) of one source slice; transposed for what follows."""
    lower = ordered[:, int(slices.lower[number])].transpose(1, 2)
    share = float(slices.upper_weight[number])
    mixed = lower * float(slices.lower_weight[number])
    if share:
        mixed.add_(ordered[:, int(slices.upper[number])].transpose(1, 2), alpha=share)
    return mixed


def _stretch(logits: Tensor, taps: _Taps) -> Tensor:
    """Interpolate axis 1 of (classes, n, m).

    Whole rows of m values are gathered, which runs at the speed of memory; along the last axis a
    gather takes value by value. That is why the caller transposes between the two axes.
    """
    if taps.is_identity and logits.shape[1] == len(taps.lower):
        return logits
    logits = logits.contiguous()
    result = logits.index_select(1, taps.lower).mul_(taps.lower_weight[:, None])
    return result.addcmul_(logits.index_select(1, taps.upper), taps.upper_weight[:, None])


def _largest(logits: Tensor) -> Tensor:
    """Return uint8 argmax over the first axis; of equals the first, as ``torch.argmax`` does."""
    best = logits[0].clone()
    labels = torch.zeros(best.shape, dtype=torch.uint8, device=best.device)
    for number in range(1, logits.shape[0]):
        labels.masked_fill_(logits[number] > best, number)
        torch.maximum(best, logits[number], out=best)
    return labels
