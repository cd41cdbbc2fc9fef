"""Non-maximum suppression of boxes, exact, in bounded memory, without a compiled operator.

Of two boxes one can suppress the other only where their spans along x and along y overlap by more
than the threshold's share of each. Boxes sorted by their left edges make such pairs neighbours, so
few of all pairs are ever looked at; and they are looked at by blocks, best scores first, so that
what is suppressed early is not compared again. Importing this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

#: boxes of which the best are found before any other box is looked at
_BLOCK: Final = 2048
#: pairs that are compared at once; all their columns fit into the cache of a core
_PAIRS: Final = 2**16
#: below these, rounding and underflow may move an overlap by more than ``_SLACK``
_LEAST_THRESHOLD: Final = 0.01
_LEAST_AREA: Final = 1e-30
_SLACK: Final = 1e-3

_Index: TypeAlias = NDArray[np.int64]
_Column: TypeAlias = NDArray[np.floating[Any]]


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Return which boxes stay when of two that overlap the better one does.

    Greedy, as ``torchvision.ops.nms``: a box goes if its intersection over union with one that
    stays and has a higher score is above the threshold. Of equal scores the first is better, NaN is
    better than any. A box with an edge that is not finite, or without area, suppresses nothing and
    is not suppressed.

    Args:
        boxes: (N, 4), x0, y0, x1, y1. What is not float64 is compared in float32.
        scores: (N,).
        iou_threshold: 0 to 1.

    Returns:
        int64 indices on the device of the boxes, the best first.

    Raises:
        ValueError: the threshold is negative or NaN.

    """
    import torch

    if not iou_threshold >= 0:
        raise ValueError("the threshold of an intersection over union is not negative")
    order = scores.argsort(descending=True, stable=True)
    precise = boxes if boxes.dtype == torch.float64 else boxes.float()
    with np.errstate(invalid="ignore", divide="ignore", over="ignore", under="ignore"):
        kept = _keep(_Boxes.of(precise.detach()[order].cpu().numpy(), iou_threshold))
    return order[torch.from_numpy(kept).to(order.device)]


@dataclass(frozen=True, kw_only=True)
class _Boxes:
    """Boxes as columns, the best first."""

    x0: _Column
    y0: _Column
    x1: _Column
    y1: _Column
    area: _Column
    #: a box that begins behind this overlaps too little along x, along y
    x_reach: _Column
    y_reach: _Column
    threshold: np.float64

    @classmethod
    def of(cls, boxes: NDArray[np.floating[Any]], threshold: float) -> _Boxes:
        x0, y0, x1, y1 = np.ascontiguousarray(boxes.T)
        area = (x1 - x0) * (y1 - y0)
        least = threshold * (1 - _SLACK) if threshold >= _LEAST_THRESHOLD else 0.0
        share = np.where(area >= _LEAST_AREA, least, 0.0).astype(area.dtype)
        return cls(
            x0=x0,
            y0=y0,
            x1=x1,
            y1=y1,
            area=area,
            x_reach=x1 - share * (x1 - x0),
            y_reach=y1 - share * (y1 - y0),
            # no Python number: numpy would round it to the columns' type
            threshold=np.float64(threshold),
        )

    def overlap(self, some: _Index, others: _Index) -> NDArray[np.bool_]:
        """Return of each pair whether its intersection over union is above the threshold."""
        x = np.minimum(self.x1[some], self.x1[others]) - np.maximum(self.x0[some], self.x0[others])
        y = np.minimum(self.y1[some], self.y1[others]) - np.maximum(self.y0[some], self.y0[others])
        shared = np.maximum(x, 0) * np.maximum(y, 0)
        above: NDArray[np.bool_] = (
            shared / (self.area[some] + self.area[others] - shared) > self.threshold
        )
        return above


def _keep(boxes: _Boxes) -> _Index:
    """Return the places of the boxes that stay, in order."""
    waiting = np.arange(len(boxes.x0))
    stays = np.ones(len(waiting), np.bool_)
    while len(waiting):
        block, waiting = waiting[:_BLOCK], waiting[_BLOCK:]
        _suppress_within(boxes, block, stays)
        best = block[stays[block]]
        for _, worse in _overlapping(boxes, best, waiting):
            stays[worse] = False
        for worse, _ in _overlapping(boxes, waiting, best):
            stays[worse] = False
        waiting = waiting[stays[waiting]]
    return np.flatnonzero(stays)


def _suppress_within(boxes: _Boxes, block: _Index, stays: NDArray[np.bool_]) -> None:
    """Let the boxes of a block suppress each other, one after the other."""
    found = [np.sort(np.stack(pair), axis=0) for pair in _overlapping(boxes, block, block)]
    better, worse = np.concatenate([*found, np.empty((2, 0), np.int64)], axis=1)
    order = np.argsort(better, kind="stable")
    suppressing, first = np.unique(better[order], return_index=True)
    for box, suppressed in zip(suppressing, np.split(worse[order], first[1:]), strict=False):
        if stays[box]:
            stays[suppressed] = False


def _overlapping(boxes: _Boxes, left: _Index, right: _Index) -> Iterator[tuple[_Index, _Index]]:
    """Yield all pairs that overlap whose box of ``right`` does not begin before that of ``left``.

    No box is paired with itself, and of one group with itself there is every pair once.
    """
    is_one_group = left is right
    left = left[np.argsort(boxes.x0[left], kind="stable")]
    right = left if is_one_group else right[np.argsort(boxes.x0[right], kind="stable")]
    starts = boxes.x0[right]
    # of one group, only what comes later: no box with itself, no pair twice
    alone = np.arange(1, len(left) + 1) if is_one_group else None
    first = np.searchsorted(starts, boxes.x0[left]) if alone is None else alone
    past = np.searchsorted(starts, boxes.x_reach[left], side="right")
    counts = np.maximum(past - first, 0)
    low, high = (boxes.y0[left], boxes.y_reach[left]), (boxes.y0[right], boxes.y_reach[right])
    for part in _parts(counts):
        each = counts[part]
        places = _ranges(first[part], each)
        is_near = high[0][places] <= np.repeat(low[1][part], each)
        is_near &= np.repeat(low[0][part], each) <= high[1][places]
        near = np.flatnonzero(is_near)
        pair = np.repeat(left[part], each)[near], right[places[near]]
        above = boxes.overlap(*pair)
        yield pair[0][above], pair[1][above]


def _parts(counts: _Index) -> Iterator[slice]:
    """Cut so that a part holds about ``_PAIRS`` pairs, and at least one box."""
    ends = np.cumsum(counts)
    start = done = 0
    while start < len(ends) and ends[-1] > done:
        past = max(start + 1, int(np.searchsorted(ends, done + _PAIRS, side="right")))
        yield slice(start, past)
        start, done = past, int(ends[past - 1])


def _ranges(first: _Index, counts: _Index) -> _Index:
    """Return ``counts[i]`` whole numbers from ``first[i]`` on, for one i after the other."""
    begins = np.cumsum(counts) - counts
    ranges: _Index = np.arange(int(counts.sum())) + np.repeat(first - begins, counts)
    return ranges
