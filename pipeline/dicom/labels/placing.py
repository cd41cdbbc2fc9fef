"""The frames of a segmentation onto a grid: exactly where they fit it, by nearest where asked."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom.labels.frames import Frame
from pipeline.dicom.labels.grid import TOLERANCE, Grid
from pipeline.dicom.labels.patches import Patches
from pipeline.dicom.labels.refusal import mismatch
from pipeline.errors import StudyRejected

Vector: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

#: share by which the stated distance between slices may differ from that of the grid
_STEP_TOLERANCE: Final = 0.05
_OUTSIDE: Final = "it labels voxels outside of the image"


class Plan(Protocol):
    """How frames come onto the grid."""

    @property
    def is_resampled(self) -> bool:
        """Say whether voxels were chosen by nearness."""
        ...

    def key(self, frame: Frame) -> Hashable:
        """Return what two frames share that show the same slice."""
        ...

    def put(self, patches: Patches, frame: Frame, inside: Mask) -> None:
        """Add the pixels that are inside, (rows, columns) of the frame."""
        ...

    def finish(self) -> None:
        """Bring what was gathered onto the grid; called once, at the end."""
        ...


class Exact:
    """Frames whose pixels are voxels of the grid, turned, mirrored or cropped.

    Raises:
        StudyRejected: label.mismatch where one is not, or lies elsewhere than its source image.

    """

    is_resampled = False

    def __init__(self, frames: Sequence[Frame], grid: Grid) -> None:
        self._grid = grid
        self._places = {frame.number: _place(frame, grid) for frame in frames}
        self._check_steps(frames)

    def key(self, frame: Frame) -> Hashable:
        """Return the axis across the frame and the slice of the grid along it."""
        start, row, column = self._places[frame.number]
        flat = _flat_axis(row, column)
        return flat, int(start[flat])

    def put(self, patches: Patches, frame: Frame, inside: Mask) -> None:
        """Add the pixels that are inside, turned as the grid is."""
        start, row, column = self._places[frame.number]
        pixels = np.argwhere(inside.any(axis=1)), np.argwhere(inside.any(axis=0))
        if not pixels[0].size:
            return
        rows = slice(int(pixels[0][0, 0]), int(pixels[0][-1, 0]) + 1)
        columns = slice(int(pixels[1][0, 0]), int(pixels[1][-1, 0]) + 1)
        cut = inside[rows, columns]
        corners = np.array(
            [start + r * row + c * column for r in (rows.start, rows.stop - 1)
             for c in (columns.start, columns.stop - 1)]
        )  # fmt: skip
        low, high = corners.min(axis=0), corners.max(axis=0)
        if (low < 0).any() or (high >= self._grid.shape).any():
            raise mismatch(_OUTSIDE)
        row_axis, column_axis = int(np.abs(row).argmax()), int(np.abs(column).argmax())
        cut = cut[:: int(row[row_axis]), :: int(column[column_axis])]
        if row_axis > column_axis:
            cut = cut.T
        block = np.expand_dims(cut, _flat_axis(row, column))
        patches.add((int(low[0]), int(low[1]), int(low[2])), block)

    def finish(self) -> None:
        """Everything is in its place already."""

    def _check_steps(self, frames: Sequence[Frame]) -> None:
        """Refuse frames that leave slices of the grid out between them.

        Frames without a segment may be left out, so a gap proves nothing; but where no two are
        neighbours on the grid and the distance stated is another, it was drawn on another grid.
        """
        stated = next((f.spacing_between for f in frames if f.spacing_between), None)
        places = [self.key(frame) for frame in frames]
        axis = places[0][0]  # type: ignore[index]
        depths = np.unique([place[1] for place in places])  # type: ignore[index]
        has_neighbours = bool((np.diff(depths) == 1).any())
        usual = float(self._grid.spacing[axis])
        if stated is None or has_neighbours or self._grid.is_regridded:
            return
        if abs(stated - usual) > _STEP_TOLERANCE * usual:
            raise mismatch("its slices lie at another distance than those of the image")


def _place(frame: Frame, grid: Grid) -> tuple[NDArray[np.int64], Vector, Vector]:
    """Return index of the first pixel, and the steps from row to row and column to column."""
    if frame.plane is None:
        return _place_by_source(frame, grid)
    origin = grid.index(frame.plane.origin)
    turn = np.linalg.inv(grid.affine[:3, :3])
    row, column = turn @ frame.plane.row_step, turn @ frame.plane.column_step
    whole = np.rint(row), np.rint(column)
    is_turn = (
        all(np.abs(step).sum() == 1 for step in whole) and (np.abs(whole[0] + whole[1]) <= 1).all()
    )
    drift = np.abs(row - whole[0]) * (frame.rows - 1) + np.abs(column - whole[1]) * (
        frame.columns - 1
    )
    start, off = grid.snap(origin)
    if not is_turn or np.abs(whole[0] @ whole[1]) or (off + drift).max() > TOLERANCE:
        raise mismatch("it lies on another grid than the image")
    if _flat_axis(*whole) == 0:
        grid.check_slice(frame.references, int(start[0]))
    return start.astype(np.int64), whole[0], whole[1]


def _place_by_source(frame: Frame, grid: Grid) -> tuple[NDArray[np.int64], Vector, Vector]:
    """Place a frame that states no position on the one image it names as its source."""
    places = {place for r in frame.references if (place := grid.slice_of(r)) is not None}
    if len(places) != 1 or grid.is_regridded or (frame.rows, frame.columns) != grid.shape[1:]:
        raise mismatch("a frame states no place, and names no slice of the image as its source")
    start = np.array([places.pop(), 0, 0], np.int64)
    return start, np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])


def _flat_axis(row: Vector, column: Vector) -> int:
    """Return the axis of the grid that a frame does not run along."""
    return int((np.abs(row) + np.abs(column)).argmin())


def plan(frames: Sequence[Frame], grid: Grid, *, nearest: Callable[[], Plan] | None) -> Plan:
    """Return how frames come onto the grid.

    Args:
        frames: of one segmentation, at least one.
        grid: where they are wanted.
        nearest: makes what to do where they do not fit; None = refuse.

    Raises:
        StudyRejected: label.mismatch.

    """
    try:
        return Exact(frames, grid)
    except StudyRejected:
        if nearest is None:
            raise
        return nearest()
