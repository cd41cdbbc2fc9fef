"""From a volume to the network's grid, and the way back.

The grid is MONAI's: ``Orientation`` then ``Spacing`` (first voxel centres aligned, borders held)
then the window, then ``CropForeground``. The values are the same up to float rounding; the work is
not: the box of the foreground is found and cut on the stored integers before anything becomes
float, and each axis is resampled by itself (two gathers and a lerp) instead of by a 3-D sampler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.models import grids, lasting
from pipeline.models.grids import Grid
from pipeline.models.spec import InputSpec
from pipeline.volume import Volume

#: percentiles come from at most about this many voxels, evenly taken: same voxels, same answer
PERCENTILE_SAMPLES = 2_000_000
_CPU = torch.device("cpu")
#: integers that torch computes with on every device
_TRAVELS = frozenset(map(np.dtype, ("u1", "i1", "i2", "i4")))


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
        ModelMismatch: the grid would be larger than ``grids.LARGEST_GRID``.

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
    count, grid = len(volumes), grids.whole_grid(volumes[0], spec)
    bounds = [(0, extent) for extent in volumes[0].stored.shape]
    if crop_foreground and spec.window is not None:
        found = _foreground_bounds(volumes, spec.window[0])
        if found is None:
            return Prepared(image=torch.zeros(count, *grid.shape), grid=grid, is_empty=True)
        grid, bounds = grids.cut(grid, found), found
        if min(grid.shape) == 0:  # what there is lies between the samples
            return Prepared(image=torch.zeros(count, 1, 1, 1), grid=grid, is_empty=True)
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
    return Prepared(image=lasting.copy(stack), grid=grid, warnings=tuple(dict.fromkeys(warnings)))


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


def back_to_source(values: Tensor, grid: Grid) -> Tensor:
    """Return values (*grid.shape) on the grid of the volume, (slices, rows, columns).

    Linearly interpolated; beyond the first and last voxel of the grid they are held.
    """
    for axis in range(3):
        positions = np.clip(grid.from_source(axis), 0, grid.shape[axis] - 1)
        values = _interpolate(values, positions, axis)
    return values.permute([grid.network_axis(axis) for axis in range(3)]).contiguous()


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
