"""Patches of volumes and of planes: what the kinds that learn from patches share.

Prepared images have the axes (channels, slices or frames, rows, columns), whether a network has
two spatial axes or three: a patch of a network with two is one plane thick.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import StudyRejected
from pipeline.models import planes
from pipeline.models.grids import Grid
from pipeline.models.preprocess import prepare
from pipeline.models.spec import InputSpec
from pipeline.reasons import Reason
from pipeline.training import augmentation
from pipeline.training.augmentation import Pose, Warp
from pipeline.training.fields import InputField
from pipeline.training.recipe import Recipe
from pipeline.volume import Input, Volume


def window(stated: InputField) -> tuple[int, ...]:
    """Return the size of a patch along (slices or frames, rows, columns)."""
    return (1, *stated.size) if stated.spatial_dims == 2 else stated.size


def prepared(image: Input, spec: InputSpec) -> tuple[Tensor, Grid | None]:
    """Return an image as the predictor sees it, and the grid of a volume.

    Returns:
        float32, 0 to 1, (channels, slices or frames, rows, columns).

    Raises:
        StudyRejected: a single image for a network of three axes, or of other channels.

    """
    if isinstance(image, Volume):
        on_grid = prepare(image, spec)
        values, grid = on_grid.image[None], on_grid.grid
    elif spec.spatial_dims == 3:
        raise StudyRejected("this recipe is trained on volumes", Reason.PIXELS_UNSUPPORTED)
    else:
        values, grid = planes.frames(image, spec)[0], None
    if len(values) != spec.channels:
        colour = "in colours" if spec.channels == 3 else "grey"
        raise StudyRejected(f"the images of this recipe are {colour}", Reason.PIXELS_UNSUPPORTED)
    return values, grid


def cut(
    image: NDArray[Any], start: Sequence[int], size: Sequence[int], warp: Warp | None = None
) -> NDArray[Any]:
    """Copy a patch with all its channels, and as much around it as a warp reaches for.

    What lies beyond the image is 0.
    """
    margins = [0] * len(size) if warp is None else [0] * (len(size) - len(warp.size)) + warp.reach
    inside, widths = [slice(None)], [(0, 0)]
    for first, width, margin, extent in zip(start, size, margins, image.shape[1:], strict=True):
        low, high = first - margin, first + width + margin
        inside.append(slice(max(low, 0), high))
        widths.append((max(-low, 0), max(high - extent, 0)))
    return np.pad(image[tuple(inside)], widths)


def pose(recipe: Recipe, random: np.random.Generator) -> Pose:
    """Choose how a patch is mirrored and turned."""
    return augmentation.pose(recipe.input.spatial_dims, recipe.augmentation, random)
