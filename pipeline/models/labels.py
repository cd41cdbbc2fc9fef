"""From logits on the network's grid to a label map on the source grid.

Logits are interpolated linearly and the largest wins: the same labels as MONAI's ``Invertd`` with
``nearest_interp=False`` followed by argmax. It goes slice by slice with a running maximum, so that
no float volume of the source's size ever exists: 25 times less time and memory for one class per
voxel, not for every class. (``torch.argmax`` over the first axis is itself 12 times slower on CPUs
than a running maximum.)

With many classes only cells of the grid whose eight corners differ in their label need logits:
where one class is the largest at every corner, it is the largest at every mean of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.models import lasting
from pipeline.models.cells import Cells, largest
from pipeline.models.devices import one_thread
from pipeline.models.grids import Grid
from pipeline.models.predictor import Checkpoint
from pipeline.models.stitching import Box
from pipeline.models.taps import Taps, reach, taps_of

#: takes a part of a slice, and what was interpolated there, (answers, rows, columns), however much
#: of its cell lies in what was kept; returns its labels, uint8 (rows, columns)
Reader: TypeAlias = Callable[[tuple[int, slice, slice], Tensor], Tensor]

#: with fewer, interpolating the logits of every voxel is faster than finding the divided cells
MANY_CLASSES: Final = 16
_SLICES_BETWEEN_CHECKPOINTS = 16
_LEAST_WEIGHT = 1e-6


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
    canvas = Canvas(grid, checkpoint=checkpoint, probabilities=probabilities)
    canvas.fill(tuple(slice(0, extent) for extent in grid.shape), logits)
    return canvas.labels


class Canvas:
    """The label map of a volume, filled block by block; see ``to_source``."""

    def __init__(
        self,
        grid: Grid,
        *,
        checkpoint: Checkpoint,
        probabilities: NDArray[np.float32] | None = None,
        is_scaled: bool = False,
        reader: Reader | None = None,
    ) -> None:
        """Take a grid.

        ``is_scaled`` says that probabilities come in the place of logits. With a ``reader``
        anything may come, and labels are what it makes of that.
        """
        self.labels: NDArray[np.uint8] = lasting.zeros(grid.source_shape, torch.uint8).numpy()
        self._grid = grid
        self._checkpoint = checkpoint
        self._probabilities = probabilities
        self._is_scaled = is_scaled
        self._reader = reader
        if probabilities is not None:
            probabilities[0] = 1.0

    def fill(self, box: Box, logits: Tensor) -> None:
        """Label the source voxels that lie in a box of the kept grid.

        A voxel between two planes of the grid belongs to the box that holds both. So boxes that
        share a plane with each neighbour fill every voxel once, and alike however they are cut.

        Args:
            box: where ``logits`` lie on the kept grid.
            logits: float32 (classes, *shape of the box).

        """
        axes = [self._grid.network_axis(axis) for axis in range(3)]
        taps = [taps_of(self._grid, axis, box[axis], logits.device) for axis in axes]
        if min(len(one.lower) for one in taps) == 0:
            return
        with torch.inference_mode(), one_thread():
            keeps = self._probabilities is not None or self._reader is not None
            if not keeps and len(logits) >= MANY_CLASSES:
                self._fill_cells(Cells(logits, axes), taps)
            else:
                self._fill_slices(logits.permute(0, *(1 + axis for axis in axes)), taps)

    def _fill_slices(self, ordered: Tensor, taps: Sequence[Taps]) -> None:
        """Interpolate the logits of every voxel, slice by slice."""
        slices, rows, columns = taps
        in_plane = slice(rows.first, rows.past), slice(columns.first, columns.past)
        for number in range(slices.past - slices.first):
            if number % _SLICES_BETWEEN_CHECKPOINTS == 0:
                self._checkpoint()
            between = _slice(ordered, slices, number)
            stretched = _stretch(_stretch(between, columns).transpose(1, 2), rows)
            place = (slices.first + number, *in_plane)
            if self._reader is None:
                self.labels[place] = largest(stretched).cpu().numpy()
            if self._reader is not None or self._probabilities is not None:
                weight = reach(slices)[number] * torch.outer(reach(rows), reach(columns))
                self._keep(place, stretched.div_(weight.clamp(min=_LEAST_WEIGHT)))

    def _keep(self, place: tuple[int, slice, slice], found: Tensor) -> None:
        if self._reader is not None:
            self.labels[place] = self._reader(place, found).cpu().numpy()
        if self._probabilities is not None:
            likely = found if self._is_scaled else found.softmax(0)
            self._probabilities[:, *place] = likely.cpu().numpy()

    def _fill_cells(self, cells: Cells, taps: Sequence[Taps]) -> None:
        """Interpolate logits only where the corners of a voxel's cell have different labels."""
        slices, rows, columns = taps
        in_plane = slice(rows.first, rows.past), slice(columns.first, columns.past)
        for number in range(slices.past - slices.first):
            if number % _SLICES_BETWEEN_CHECKPOINTS == 0:
                self._checkpoint()
            lower = int(slices.lower[number])
            label, differs = (
                of_cell[rows.lower][:, columns.lower] for of_cell in cells.labels(lower)
            )
            row, column = differs.nonzero(as_tuple=True)
            places = row, column
            logits = torch.zeros((len(row), cells.classes), device=label.device)
            for index, share in (
                (lower, slices.lower_weight[number]),
                (int(slices.upper[number]), slices.upper_weight[number]),
            ):
                if share:
                    cells.add(logits, (lower, index), share, (rows, columns), places)
            label[places] = logits.argmax(1).to(torch.uint8)
            self.labels[slices.first + number][in_plane] = label.cpu().numpy()


def _slice(ordered: Tensor, slices: Taps, number: int) -> Tensor:
    """Return (classes, columns, rows) of one source slice; transposed for what follows."""
    lower = ordered[:, int(slices.lower[number])].transpose(1, 2)
    share = float(slices.upper_weight[number])
    mixed = lower * float(slices.lower_weight[number])
    if share:
        mixed.add_(ordered[:, int(slices.upper[number])].transpose(1, 2), alpha=share)
    return mixed


def _stretch(logits: Tensor, taps: Taps) -> Tensor:
    """Interpolate axis 1 of (classes, n, m).

    Whole rows of m values are gathered, which runs at the speed of memory; along the last axis a
    gather takes value by value. That is why the caller transposes between the two axes.
    """
    if taps.is_identity and logits.shape[1] == len(taps.lower):
        return logits
    logits = logits.contiguous()
    result = logits.index_select(1, taps.lower).mul_(taps.lower_weight[:, None])
    return result.addcmul_(logits.index_select(1, taps.upper), taps.upper_weight[:, None])
