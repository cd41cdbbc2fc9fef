"""From a volume to the network's grid, and the way back.

The grid is MONAI's: ``Orientation`` then ``Spacing`` (first voxel centres aligned, borders held)
then the window, then ``CropForeground``. The values are the same up to float rounding; the work is
not: the box of the foreground is found and cut on the stored integers before anything becomes
float, and each axis is resampled by itself (two gathers and a lerp) instead of by a 3-D sampler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data.utils import AFFINE_TOL, compute_shape_offset, zoom_affine
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import ModelMismatch
from pipeline.models.spec import InputSpec
from pipeline.volume import Volume

#: a grid beyond this (4 GiB as float32) is refused before memory is asked for
LARGEST_GRID = 2**30
#: percentiles come from at most about this many voxels, evenly taken: same voxels, same answer
PERCENTILE_SAMPLES = 2_000_000
_CPU = torch.device("cpu")
#: integers that torch computes with on every device
_TRAVELS = frozenset(map(np.dtype, ("u1", "i1", "i2", "i4")))
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


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What the network sees of a volume."""

    #: float32, 0 to 1, shape ``grid.shape``, channels before it where they were prepared
    image: Tensor
    grid: Grid
    #: True where nothing was in the foreground and there is nothing to run on
    is_empty: bool = False
    warnings: tuple[str, ...] = ()


def prepare(
    volume: Volume,
    spec: InputSpec,
    *,
    crop_foreground: bool = False,
    device: torch.device = _CPU,
) -> Prepared:
    """Resample and scale a volume as ``spec`` states.

    Args:
        volume: the input.
        spec: what the network expects.
        crop_foreground: keep only the box of what lies above the window's low end.
        device: where the stored integers go once they are cropped, and all work after that.

    Raises:
        ModelMismatch: the grid would be larger than ``LARGEST_GRID``.

    """
    prepared = prepare_channels((volume,), spec, crop_foreground=crop_foreground, device=device)
    return replace(prepared, image=prepared.image[0])


def prepare_channels(
    volumes: Sequence[Volume],
    spec: InputSpec,
    *,
    crop_foreground: bool = False,
    device: torch.device = _CPU,
) -> Prepared:
    """Prepare volumes that lie on one grid as ``prepare`` does one.

    The foreground is what any of them has above the window's low end.

    Returns:
        An image of shape (channels, *grid.shape).

    """
    count, grid = len(volumes), whole_grid(volumes[0], spec)
    bounds = [(0, extent) for extent in volumes[0].stored.shape]
    if crop_foreground and spec.window is not None:
        found = _foreground_bounds(volumes, spec.window[0])
        if found is None:
            return Prepared(image=torch.zeros(count, *grid.shape), grid=grid, is_empty=True)
        grid, bounds = _cut(grid, found), found
    images, warnings = [], list[str]()
    for volume in volumes:
        low, high, said = value_range(volume, spec)
        image = _resample(_stored(volume, bounds, device), grid, bounds)
        # (stored * slope + intercept - low) / (high - low), clipped: MONAI's ScaleIntensityRange
        image.mul_(volume.slope).add_(volume.intercept - low)
        images.append(image.div_(max(high - low, 1e-12)).clamp_(0, 1))
        warnings += said
    # one is not copied
    stack = torch.stack(images) if count > 1 else images[0][None]
    if crop_foreground:
        stack, grid = _tighten(stack, grid)
        if min(stack.shape) == 0:
            return Prepared(image=torch.zeros(count, 1, 1, 1), grid=grid, is_empty=True)
    return Prepared(image=stack.contiguous(), grid=grid, warnings=tuple(dict.fromkeys(warnings)))


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


def _foreground_bounds(volumes: Sequence[Volume], low: float) -> list[tuple[int, int]] | None:
    """Return [first, past the last) per source axis of all voxels above ``low``, one voxel wider.

    Exact, from two passes of maxima over the stored integers of each volume. A sample of the grid
    lies between two voxels, so it can be above ``low`` only inside this box.
    """
    above = [np.zeros(count, bool) for count in volumes[0].stored.shape]
    for volume in volumes:
        level, stored = (low - volume.intercept) / volume.slope, volume.stored
        if volume.slope > 0:
            plane, slices = stored.max(axis=0) > level, stored.max(axis=(1, 2)) > level
        else:
            plane, slices = stored.min(axis=0) < level, stored.min(axis=(1, 2)) < level
        for hits, more in zip(above, (slices, plane.any(axis=1), plane.any(axis=0)), strict=True):
            np.logical_or(hits, more, out=hits)
    if not above[0].any():
        return None
    bounds = []
    for hits in above:
        inside = np.flatnonzero(hits)
        bounds.append((max(0, int(inside[0]) - 1), min(len(hits), int(inside[-1]) + 2)))
    return bounds


def _cut(grid: Grid, bounds: list[tuple[int, int]]) -> Grid:
    """Keep the part of the grid whose samples need no voxel outside of ``bounds``."""
    start, shape = [], []
    for axis in range(3):
        first, past = bounds[grid.axes[axis]]
        positions = grid.positions(axis)
        inside = np.flatnonzero((positions >= first) & (positions <= past - 1))
        start.append(int(inside[0]) if inside.size else 0)
        shape.append(int(inside[-1]) + 1 - start[-1] if inside.size else 0)
    return replace(grid, start=(start[0], start[1], start[2]), shape=(shape[0], shape[1], shape[2]))


def _stored(volume: Volume, bounds: list[tuple[int, int]], device: torch.device) -> Tensor:
    """Return the stored values within ``bounds`` on a device, float32, axes as the volume's.

    To another device they travel as the integers they are: half of the bytes.
    """
    box = volume.stored[tuple(slice(first, past) for first, past in bounds)]
    if device.type == "cpu" or box.dtype not in _TRAVELS:
        return torch.from_numpy(box.astype(np.float32, order="C")).to(device)
    return torch.from_numpy(np.array(box, order="C")).to(device).to(torch.float32)


def _resample(image: Tensor, grid: Grid, bounds: list[tuple[int, int]]) -> Tensor:
    """Return values that lie within ``bounds`` of the volume on the grid, axes as the network's."""
    # the axis that shrinks most goes first: less is left for the others
    for axis in sorted(range(3), key=lambda axis: grid.shape[axis] / image.shape[grid.axes[axis]]):
        source = grid.axes[axis]
        image = _interpolate(image, grid.positions(axis) - bounds[source][0], source)
    return image.permute(grid.axes)


def _interpolate(image: Tensor, positions: NDArray[np.float64], axis: int) -> Tensor:
    """Sample one axis at fractional positions, linearly."""
    count = image.shape[axis]
    lower = np.clip(np.floor(positions), 0, max(count - 2, 0)).astype(np.int64)
    weights = (positions - lower).astype(np.float32)
    first = torch.from_numpy(lower).to(image.device)
    if not weights.any():
        is_whole = len(lower) == count and bool((np.diff(lower) == 1).all())
        return image if is_whole else image.index_select(axis, first)
    second = (first + 1).clamp(max=count - 1)
    shape = [1] * image.ndim
    shape[axis] = -1
    return torch.lerp(
        image.index_select(axis, first),
        image.index_select(axis, second),
        torch.from_numpy(weights).to(image.device).view(shape),
    )


def _tighten(stack: Tensor, grid: Grid) -> tuple[Tensor, Grid]:
    """Cut to the box of what is above 0 in any channel, as MONAI's CropForeground does."""
    start, shape = [], []
    for axis in range(3):
        others = tuple(other for other in range(4) if other != axis + 1)
        inside = torch.nonzero(stack.amax(dim=others) > 0)[:, 0]
        if len(inside) == 0:
            return stack[:, :0], grid
        start.append(int(inside[0]))
        shape.append(int(inside[-1]) + 1 - start[-1])
        stack = stack.narrow(axis + 1, start[-1], shape[-1])
    first, second, third = (old + more for old, more in zip(grid.start, start, strict=True))
    cut = replace(grid, start=(first, second, third), shape=(shape[0], shape[1], shape[2]))
    return stack, cut


def value_range(volume: Volume, spec: InputSpec) -> tuple[float, float, tuple[str, ...]]:
    """Return the values that become 0 and 1, in the modality's unit, and what is to be said."""
    if spec.window is not None:
        return spec.window[0], spec.window[1], ()
    low, high = foreground_percentiles(volume.stored, spec.percentiles)
    ends = sorted(end * volume.slope + volume.intercept for end in (low, high))
    if ends[0] == ends[1]:
        return ends[0], ends[1], ("the image holds one value only",)
    return ends[0], ends[1], ()


def foreground_percentiles(
    values: NDArray[np.generic], percentiles: tuple[float, float]
) -> tuple[float, float]:
    """Return two percentiles of the values above the lowest one, which is taken for background."""
    stride = max(1, values.size // PERCENTILE_SAMPLES)
    sample = np.asarray(values).reshape(-1)[::stride]
    foreground = sample[sample > sample.min()]
    if foreground.size == 0:
        return float(sample[0]), float(sample[0])
    low, high = np.percentile(foreground, percentiles)
    return float(low), float(high)
