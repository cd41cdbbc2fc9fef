"""A mask that was found against one that is true: how they overlap, and how far they are apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.evaluation.scores import Overlap
from pipeline.volume import Input, Volume

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """How large a voxel is: its sides in mm, where they are known, and its size."""

    #: of the axes that are longer than one plane
    spacing: tuple[float, ...] | None
    size: float
    #: of ``size``
    unit: Literal["ml", "pixels"]


def grid_of(image: Input) -> Grid:
    """Return the grid of a volume or an image; a loop has no distances from frame to frame."""
    if isinstance(image, Volume):
        return Grid(spacing=image.spacing, size=image.voxel_volume_ml, unit="ml")
    is_plane = image.pixels.shape[0] == 1
    return Grid(spacing=image.spacing if is_plane else None, size=1.0, unit="pixels")


def compare(is_true: Mask, is_found: Mask, grid: Grid, tolerance_mm: float) -> Overlap:
    """Compare two masks (slices or frames, rows, columns) of one label.

    Args:
        is_true: the reference; where it is empty nothing has a value but the sizes.
        is_found: what the model says.
        grid: of both.
        tolerance_mm: how far apart surfaces may be and still count as one.

    """
    true_voxels, found_voxels = int(np.count_nonzero(is_true)), int(np.count_nonzero(is_found))
    distances: tuple[float | None, float | None] = (None, None)
    if true_voxels and grid.spacing is not None:
        distances = (0.0, None)
        if found_voxels:
            distances = _surfaces(is_true, is_found, grid.spacing, tolerance_mm)
    return Overlap(
        true_size=true_voxels * grid.size,
        found_size=found_voxels * grid.size,
        unit=grid.unit,
        dice=dice(is_true, is_found) if true_voxels else None,
        surface_dice=distances[0],
        hd95_mm=distances[1],
    )


def dice(is_true: Mask, is_found: Mask) -> float:
    """Return 2 |A and B| / (|A| + |B|); at least one of the two is not empty."""
    both = int(np.count_nonzero(is_true & is_found))
    return 2.0 * both / (int(np.count_nonzero(is_true)) + int(np.count_nonzero(is_found)))


def _surfaces(
    is_true: Mask, is_found: Mask, spacing: Sequence[float], tolerance_mm: float
) -> tuple[float, float]:
    """Return normalised surface Dice and the 95th percentile of the Hausdorff distance, by MONAI.

    Nikolov et al., "Clinically Applicable Segmentation of Head and Neck Anatomy", JMIR 2021; the
    share of the voxels of both edges that lie within the tolerance of the other edge. The
    distance is the larger one of both ways.
    """
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance
    from monai.metrics.surface_dice import compute_surface_dice

    found, true = (_batched(mask, len(spacing)) for mask in (is_found, is_true))
    share = compute_surface_dice(
        found, true, [tolerance_mm], include_background=True, spacing=list(spacing)
    )
    distance = compute_hausdorff_distance(
        found, true, include_background=True, percentile=95, spacing=list(spacing)
    )
    return float(share), float(distance)


def _batched(mask: Mask, dims: int) -> Tensor:
    """Return (1, 1, *spatial); of a single image without its axis of frames."""
    return torch.from_numpy(np.ascontiguousarray(mask)).reshape(1, 1, *mask.shape[-dims:])
