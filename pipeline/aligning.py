"""Bring several series of a study onto one grid, so that they can be the channels of one input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.errors import StudyRejected
from pipeline.policies import ChannelGrid
from pipeline.reasons import Reason
from pipeline.volume import Channels, SourceHeader, Volume, grid_difference

#: of the first series' voxels, the share that another has to cover to be its channel
_LEAST_COVERED: Final = 0.5
#: voxels by which sums of floats may lie outside of the border they are on
_ROUNDING: Final = 1e-6


def aligned(
    series: Mapping[str, Volume], *, policy: ChannelGrid, checkpoint: Callable[[], None]
) -> Channels:
    """Return several series as channels on the grid of the first.

    A series that lies on the grid of the first already is left as it is, to the bit.

    Args:
        series: by the name of their input, in the order of the channels.
        policy: what to do with a series on another grid: refuse, or resample it linearly.
        checkpoint: called before each slice that is resampled.

    Raises:
        StudyRejected: a series lies in another frame of reference, on another grid where the
            policy refuses that, or covers less than half of the first.
        Interrupted, DeadlineExceeded: by ``checkpoint``.

    """
    (_, first), *others = series.items()
    volumes = [first]
    for name, volume in others:
        difference = grid_difference(first, volume)
        if _frame(volume) != _frame(first):
            sentence = f"input {name} lies in another frame of reference than the first series"
            raise StudyRejected(sentence, Reason.SERIES_GEOMETRY_INVALID)
        if difference is None:
            volumes.append(volume)
            continue
        if policy == "refuse":
            sentence = f"the series of input {name} {difference}; they are channels of one grid"
            raise StudyRejected(sentence, Reason.SERIES_GEOMETRY_INVALID)
        if _frame(first) is None:
            sentence = f"input {name} states no frame of reference to resample it in"
            raise StudyRejected(sentence, Reason.SERIES_GEOMETRY_INVALID)
        volumes.append(_resampled(volume, first, name, checkpoint))
    return Channels(volumes=tuple(volumes))


def _frame(volume: Volume) -> str | None:
    return None if volume.header is None else volume.header.frame_of_reference_uid


def _resampled(volume: Volume, first: Volume, name: str, checkpoint: Callable[[], None]) -> Volume:
    """Return a volume on the grid of the first, linear between the centres of its voxels.

    In the outer half of its outermost voxels their values hold; beyond lies its least value, which
    is air or nothing. Values are resampled as they are stored: the rescale is linear too.
    """
    way = np.linalg.inv(volume.affine) @ first.affine
    beyond = volume.stored.min() if volume.slope > 0 else volume.stored.max()
    stored = np.empty(first.stored.shape, np.float32)
    covered = 0
    for index, plane in enumerate(stored):
        checkpoint()
        start = way[:3, 3] + index * way[:3, 0]
        # of three axes in and two out: scipy takes a matrix that is not square
        ndimage.affine_transform(
            volume.stored, way[:3, 1:3], start, output=plane, order=1, mode="nearest"
        )
        inside = _inside(way[:3, 1:3], start, plane.shape, volume.stored.shape)
        plane[~inside] = beyond
        covered += int(inside.sum())
    share = covered / stored.size
    if share < _LEAST_COVERED:
        sentence = f"the series of input {name} covers {share:.0%} of the first; half is the least"
        raise StudyRejected(sentence, Reason.SERIES_GEOMETRY_INVALID)
    told = f"input {name} was resampled linearly onto the grid of the first series"
    told += f", of which it covers {share:.1%}" if share < 1 else ""
    header = volume.header
    return replace(
        volume,
        stored=stored,
        affine=first.affine,
        header=None if header is None else header_on(volume, header, way, first.stored.shape),
        warnings=(*volume.warnings, told),
        regridding=None,
    )


def _inside(
    steps: NDArray[np.float64],
    start: NDArray[np.float64],
    plane: tuple[int, ...],
    shape: tuple[int, ...],
) -> NDArray[np.bool_]:
    """Return which voxels (rows, columns) of a plane lie in voxels of a grid of this shape.

    Args:
        steps: (3, 2), voxels of that grid from one row and from one column to the next.
        start: (3,), where the first voxel of the plane lies.
        plane: rows and columns.
        shape: slices, rows and columns of the grid.

    """
    rows, columns = (np.arange(count, dtype=np.float64) for count in plane)
    inside = np.ones(plane, bool)
    for (down, right), first, count in zip(steps, start, shape, strict=True):
        place = first + down * rows[:, None] + right * columns
        inside &= (place >= -0.5 - _ROUNDING) & (place <= count - 0.5 + _ROUNDING)
    return inside


def header_on(
    volume: Volume, header: SourceHeader, way: NDArray[np.float64], shape: tuple[int, ...]
) -> SourceHeader:
    """Return a volume's header for another grid: each slice has the instance nearest its middle.

    Args:
        volume: what the header is of.
        header: its slices are those of the volume, or of its regridding.
        way: (4, 4), from the index on the other grid to that on the volume.
        shape: slices, rows and columns of the other grid.

    """
    middle = way[0, 3] + (way[0, 1] * (shape[1] - 1) + way[0, 2] * (shape[2] - 1)) / 2
    along = middle + way[0, 0] * np.arange(shape[0])
    places = range(len(header.instances)) if volume.regridding is None else volume.regridding.slices
    nearest = np.abs(along[:, None] - np.array(places)).argmin(axis=1)
    return replace(header, instances=tuple(header.instances[index] for index in nearest))
