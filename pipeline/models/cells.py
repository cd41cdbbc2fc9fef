"""Cells of the grid that labels divide: the only ones whose logits a label map needs.

Where one class is the largest at all eight corners of a cell, it is the largest at every mean of
them, so no voxel inside can have another label.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from pipeline.models.taps import Taps

#: of the grid: whole lines of memory are read, and little is held twice
_SLICES_GATHERED: Final = 16
_PIECE: Final = 2**16


class Cells:
    """The cells between the voxels of a block, and the logits of those that labels divide.

    A cell has the index of its lowest corner. Indices run along the axes of the source.
    """

    def __init__(self, logits: Tensor, axes: Sequence[int]) -> None:
        """Take logits (classes, *shape) and the network axis of each source axis."""
        self.classes = len(logits)
        self._logits = logits.contiguous().flatten(1)
        self._axes = axes
        labels = largest_everywhere(self._logits).view(logits.shape[1:])
        lowest, highest = labels, labels
        for axis in range(3):
            lowest = _with_next(lowest, axis, torch.minimum)
            highest = _with_next(highest, axis, torch.maximum)
        divided = lowest != highest
        self._needed = divided.clone()
        for axis in range(3):
            count = divided.shape[axis] - 1
            before = self._needed.narrow(axis, 0, count).clone()
            self._needed.narrow(axis, 1, count).logical_or_(before)
        self._lowest, self._divided = lowest.permute(*axes), divided.permute(*axes)
        self._chunk = range(0)
        self._rows = self._table = torch.empty(0)

    def labels(self, lower: int) -> tuple[Tensor, Tensor]:
        """Return the label of each cell (rows, columns) above a slice, and where it has several."""
        return self._lowest[lower].contiguous(), self._divided[lower].contiguous()

    def add(
        self,
        total: Tensor,
        slices: tuple[int, int],
        share: Tensor,
        taps: tuple[Taps, Taps],
        places: tuple[Tensor, Tensor],
    ) -> None:
        """Add to ``total`` (n, classes) the share of one slice.

        ``slices`` are the cell's and the one asked for, ``places`` numbers of the taps.
        """
        self._gather(slices[0])
        plane = self._rows[slices[1] - self._chunk.start]
        for row, row_share in _ends(taps[0], places[0]):
            for column, column_share in _ends(taps[1], places[1]):
                corners = self._table.index_select(0, plane[row, column])
                total.addcmul_(corners, (row_share * column_share * share)[:, None])

    def _gather(self, lower: int) -> None:
        """Put the logits of divided cells in a table (n, classes), for some slices at a time."""
        if lower in self._chunk:
            return
        axis, shape = self._axes[0], self._needed.shape
        first = lower - lower % _SLICES_GATHERED
        self._chunk = range(first, first + _SLICES_GATHERED)
        count = min(_SLICES_GATHERED + 1, shape[axis] - first)
        needed = self._needed.narrow(axis, first, count)
        places = list(needed.nonzero(as_tuple=True))
        rows = torch.zeros(needed.shape, dtype=torch.int32, device=needed.device)
        rows[tuple(places)] = torch.arange(len(places[0]), dtype=torch.int32, device=rows.device)
        self._rows = rows.permute(*self._axes)
        places[axis] += first
        flat = (places[0] * shape[1] + places[1]) * shape[2] + places[2]
        self._table = self._logits.index_select(1, flat).T.contiguous()


def _ends(taps: Taps, places: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return both neighbours at some places of an axis, and their weights."""
    return [
        (taps.lower[places], taps.lower_weight[places]),
        (taps.upper[places], taps.upper_weight[places]),
    ]


def _with_next(values: Tensor, axis: int, choose: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return ``choose`` of each value and the next along an axis; the last has none."""
    count = values.shape[axis] - 1
    pairs = choose(values.narrow(axis, 0, count), values.narrow(axis, 1, count))
    return torch.cat([pairs, values.narrow(axis, count, 1)], axis)


def largest_everywhere(logits: Tensor) -> Tensor:
    """Return ``largest`` of (classes, n), in pieces that stay in the cache of a core."""
    labels = torch.empty(logits.shape[1], dtype=torch.uint8, device=logits.device)
    for first in range(0, len(labels), _PIECE):
        part = slice(first, first + _PIECE)
        labels[part] = largest(logits[:, part])
    return labels


def largest(logits: Tensor) -> Tensor:
    """Return uint8 argmax over the first axis; of equals the first, as ``torch.argmax`` does."""
    best = logits[0].clone()
    labels = torch.zeros(best.shape, dtype=torch.uint8, device=best.device)
    for number in range(1, logits.shape[0]):
        labels.masked_fill_(logits[number] > best, number)
        torch.maximum(best, logits[number], out=best)
    return labels
