"""Where the network's grid lies in a volume: MONAI's ``Orientation``, then its ``Spacing``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import nibabel as nib
import numpy as np
from monai.data.utils import AFFINE_TOL, compute_shape_offset, zoom_affine
from numpy.typing import NDArray

from pipeline.errors import ModelMismatch
from pipeline.models.spec import InputSpec
from pipeline.volume import Volume

#: a grid beyond this (4 GiB as float32) is refused before memory is asked for
LARGEST_GRID = 2**30
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, kw_only=True)
class Grid:
    """How the network's axes lie in a volume. Tuples run along the network's axes."""

    #: (slices, rows, columns) of the volume
    source_shape: tuple[int, int, int]
    #: which axis of the volume each network axis runs along
    axes: tuple[int, int, int]
    #: whether it runs against it
    flips: tuple[bool, bool, bool]
    #: voxels of the volume from one voxel of the grid to the next
    steps: tuple[float, float, float]
    #: shape of the whole grid
    full: tuple[int, int, int]
    #: first voxel and shape of the part that was kept
    start: tuple[int, int, int]
    shape: tuple[int, int, int]

    def to_source(self, axis: int, index: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map indices of voxel centres on the kept grid, along ``axis``, to the volume's axis."""
        along = (np.asarray(index, np.float64) + self.start[axis]) * self.steps[axis]
        last = self.source_shape[self.axes[axis]] - 1
        return last - along if self.flips[axis] else along

    def positions(self, axis: int) -> NDArray[np.float64]:
        """Return where the kept grid's voxels lie on the volume's axis, held at its borders."""
        last = self.source_shape[self.axes[axis]] - 1
        return np.clip(self.to_source(axis, np.arange(self.shape[axis], dtype=np.float64)), 0, last)

    def from_source(self, axis: int) -> NDArray[np.float64]:
        """Return where every voxel of the volume's axis lies on the kept grid.

        Negative or at least ``shape[axis]`` where it lies outside of what was kept.
        """
        count = self.source_shape[self.axes[axis]]
        index = np.arange(count, dtype=np.float64)
        along = (count - 1 - index if self.flips[axis] else index) / self.steps[axis]
        return np.minimum(along, self.full[axis] - 1) - self.start[axis]

    def network_axis(self, source_axis: int) -> int:
        """Return the network axis that runs along an axis of the volume."""
        return self.axes.index(source_axis)


def whole_grid(volume: Volume, spec: InputSpec) -> Grid:
    """Lay the network's grid over a volume, uncropped.

    Raises:
        ModelMismatch: it would be larger than ``LARGEST_GRID``.

    """
    axes, flips = _orient(volume, spec.orientation)
    affine = _LPS_TO_RAS @ volume.affine @ _reorder(volume.stored.shape, axes, flips)
    spacing, target = _spacings(affine, spec)
    # MONAI's own arithmetic: spacings that divide evenly end in .5 and its rounding must be ours
    full, _ = _laid_by_monai(volume, axes, affine, target)
    if np.prod(np.asarray(full, np.float64)) > LARGEST_GRID:
        raise ModelMismatch(f"the volume would fill {full} voxels at the model's spacing")
    steps = target / spacing
    rows, columns = volume.stored.shape[1:]
    return Grid(
        source_shape=(volume.stored.shape[0], rows, columns),
        axes=axes,
        flips=flips,
        steps=(float(steps[0]), float(steps[1]), float(steps[2])),
        full=full,
        start=(0, 0, 0),
        shape=full,
    )


def shift_of_monai(volume: Volume, spec: InputSpec) -> float:
    """Return how far away from ours, in mm, MONAI's ``Spacing`` lays the first voxel of its grid.

    0 but for oblique volumes: it looks for a corner that no other lies before, to 1e-8 mm, and
    takes another where the cosines are not at right angles to that many digits.
    """
    axes, flips = _orient(volume, spec.orientation)
    affine = _LPS_TO_RAS @ volume.affine @ _reorder(volume.stored.shape, axes, flips)
    _, target = _spacings(affine, spec)
    _, start = _laid_by_monai(volume, axes, affine, target)
    return float(np.linalg.norm(start - affine[:3, 3]))


def cut(grid: Grid, bounds: list[tuple[int, int]]) -> Grid:
    """Keep the part of the grid whose samples need no voxel outside of ``bounds``."""
    start, shape = [], []
    for axis in range(3):
        first, past = bounds[grid.axes[axis]]
        positions = grid.positions(axis)
        inside = np.flatnonzero((positions >= first) & (positions <= past - 1))
        start.append(int(inside[0]) if inside.size else 0)
        shape.append(int(inside[-1]) + 1 - start[-1] if inside.size else 0)
    return replace(grid, start=(start[0], start[1], start[2]), shape=(shape[0], shape[1], shape[2]))


def _spacings(
    affine: NDArray[np.float64], spec: InputSpec
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the spacing (3,) of an affine, and that of the network's grid."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    target = np.asarray(spec.spacing if spec.spacing is not None else spacing, np.float64)
    # MONAI leaves an axis alone that is this close to what is asked for
    return spacing, np.where(np.abs(target - spacing) <= AFFINE_TOL, spacing, target)


def _laid_by_monai(
    volume: Volume,
    axes: tuple[int, int, int],
    affine: NDArray[np.float64],
    target: NDArray[np.float64],
) -> tuple[tuple[int, int, int], NDArray[np.float64]]:
    """Return the shape of the grid that MONAI lays, and where its first voxel is (RAS, mm)."""
    shape = tuple(volume.stored.shape[axis] for axis in axes)
    zoomed = zoom_affine(affine, target, diagonal=False)
    counts, start = compute_shape_offset(shape, affine, zoomed)
    return (int(counts[0]), int(counts[1]), int(counts[2])), np.asarray(start[:3], np.float64)


def _orient(
    volume: Volume, orientation: str | None
) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Return for each network axis the volume's axis and whether it runs backwards."""
    if orientation is None:
        return (0, 1, 2), (False, False, False)
    # nibabel's, because MONAI's Orientation is: oblique volumes must turn the same way
    library: Any = nib.orientations
    found = library.io_orientation(_LPS_TO_RAS @ volume.affine)
    change = library.ornt_transform(found, library.axcodes2ornt(tuple(orientation)))
    order = [int(np.flatnonzero(change[:, 0] == axis)[0]) for axis in range(3)]
    flips = [bool(change[source, 1] < 0) for source in order]
    return (order[0], order[1], order[2]), (flips[0], flips[1], flips[2])


def _reorder(
    shape: tuple[int, ...], axes: tuple[int, int, int], flips: tuple[bool, bool, bool]
) -> NDArray[np.float64]:
    """Return the (4, 4) map from indices along the network's axes to the volume's indices."""
    change = np.zeros((4, 4))
    change[3, 3] = 1
    for axis, (source, flip) in enumerate(zip(axes, flips, strict=True)):
        change[source, axis] = -1 if flip else 1
        change[source, 3] = shape[source] - 1 if flip else 0
    return change
