"""Images made worse on purpose, so that a restoration learns the way back and is measured on it.

Images here have the axes (channels, slices or frames, rows, columns) and run from 0 to 1. First
voxels are joined, then photons are counted, then electronics add noise, as a detector does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from pipeline.models import planes, preprocess
from pipeline.training.fields import DegradationField
from pipeline.training.recipe import Recipe
from pipeline.volume import Image, Input, Volume

Values = NDArray[np.float32]


def factors(recipe: Recipe) -> tuple[int, int, int]:
    """Return how many voxels become one along (slices or frames, rows, columns)."""
    times = 1 if recipe.degradation is None else recipe.degradation.downsample
    return (1 if recipe.input.spatial_dims == 2 else times, times, times)


def degrade(
    values: Values,
    wanted: DegradationField,
    joined: Sequence[int],
    random: np.random.Generator,
) -> Values:
    """Make an image worse.

    Args:
        values: 0 to 1, (channels, slices or frames, rows, columns), whole multiples of ``joined``.
        wanted: what is done.
        joined: voxels that become one along (slices or frames, rows, columns).
        random: decides the strength and the noise.

    Returns:
        float32, held to 0 to 1, as a predictor holds its input.

    """
    worse = means(values, joined)
    if wanted.photons is not None:
        photons = random.uniform(*wanted.photons)
        worse = (random.poisson(worse * photons) / photons).astype(np.float32)
    if wanted.noise is not None:
        deviation = np.float32(random.uniform(*wanted.noise))
        worse = worse + deviation * random.standard_normal(worse.shape, np.float32)
    return np.clip(worse, 0.0, 1.0)


def means(values: Values, joined: Sequence[int]) -> Values:
    """Return the means of blocks of voxels; axes as in ``degrade``."""
    channels, *spatial = values.shape
    blocks = [
        part for n, times in zip(spatial, joined, strict=True) for part in (n // times, times)
    ]
    joined_up: Values = values.reshape(channels, *blocks).mean(axis=(2, 4, 6), dtype=np.float32)
    return joined_up


def whole(values: Values, joined: Sequence[int]) -> Values:
    """Cut what is no whole block off the end of each spatial axis."""
    kept = (slice(0, n - n % times) for n, times in zip(values.shape[1:], joined, strict=True))
    return values[(slice(None), *kept)]


def stretch(values: Values, joined: Sequence[int]) -> Values:
    """Undo joining by cubic interpolation: what anybody can do without a model.

    Axis by axis, by Keys' kernel (IEEE TASSP 1981) with a = -0.75, as torch has it; of images whose
    voxels were joined it comes nearer than the kernel with a = -0.5.
    """
    finer = torch.from_numpy(values)
    for axis, times in enumerate(joined, start=1):
        if times > 1:
            rows = finer.movedim(axis, 3)
            size = (rows.shape[2], rows.shape[3] * times)
            finer = functional.interpolate(rows, size=size, mode="bicubic").movedim(3, axis)
    stretched: Values = finer.contiguous().numpy()
    return stretched


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A held-out image and what a model is shown of it."""

    #: made worse, in the unit of the image
    shown: Input = field(repr=False)
    #: 0 to 1, (channels, slices or frames, rows, columns)
    reference: Values = field(repr=False)
    #: what anybody can make of ``shown``, on the grid of the reference
    baseline: Values = field(repr=False)
    #: what became 0 and 1
    low: float
    high: float

    def scaled(self, answer: NDArray[np.generic]) -> Values:
        """Return what a model answered, as the reference is: 0 to 1, with its channels first."""
        values = answer.astype(np.float32)
        values = np.moveaxis(values, 3, 0) if values.ndim == 4 else values[None]
        span = np.float32(max(self.high - self.low, 1e-12))
        return np.asarray(np.clip((values - np.float32(self.low)) / span, 0.0, 1.0), np.float32)


def trial(image: Input, recipe: Recipe, random: np.random.Generator) -> Trial:
    """Make a held-out image worse as the recipe states it.

    Values beyond ``input.window`` are held at its ends before that: no answer can lie there.

    Raises:
        ValueError: the recipe states no degradation.

    """
    if recipe.degradation is None:
        raise ValueError("the recipe makes no image worse")
    spec, joined = recipe.spec("0").input, factors(recipe)
    if isinstance(image, Volume):
        low, high, _ = preprocess.value_range(image, spec)
        scaled = (image.values()[None] - np.float32(low)) / np.float32(max(high - low, 1e-12))
        scaled = np.clip(scaled, 0.0, 1.0)
    else:
        tensor, low, high = planes.frames(image, spec)
        scaled = tensor.numpy()
    reference = whole(scaled, joined)
    worse = degrade(reference, recipe.degradation, joined, random)
    return Trial(
        shown=_like(image, worse * np.float32(high - low) + np.float32(low), joined),
        reference=reference,
        baseline=np.clip(stretch(worse, joined), 0.0, 1.0),
        low=low,
        high=high,
    )


def _like(image: Input, values: Values, joined: Sequence[int]) -> Input:
    """Put values in the place of an image; voxels grow where several became one."""
    if isinstance(image, Volume):
        affine = image.affine.copy()
        affine[:3, :3] *= np.asarray(joined, float)
        affine[:3, 3] = image.to_patient((np.asarray(joined, float) - 1.0) / 2.0)
        return Volume(stored=values[0], affine=affine, unit=image.unit)
    if image.pixels.ndim == 4:
        return Image(pixels=np.rint(np.moveaxis(values, 0, 3)).astype(np.uint8))
    return Image(pixels=values[0], unit=image.unit)
