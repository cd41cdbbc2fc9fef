"""An MR head of four weightings: scalp, skull, grey and white matter, ventricles, lesions."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.phantoms.anatomy import (
    Ellipsoid,
    Grid,
    Phantom,
    PhantomParameters,
    Tissue,
    affine_of,
    mark_balls,
    paint_balls,
    place_balls,
    to_spheres,
)
from pipeline.volume import Volume

DEFAULT = PhantomParameters(
    shape=(32, 96, 96), spacing=(5.0, 2.3, 2.1), lesions=2, radius=(6.0, 11.0), noise=12.0
)


class Weighting(enum.StrEnum):
    """What makes the contrast between tissues."""

    FLAIR = "flair"
    T1 = "t1"
    #: T1 after contrast agent, which stays in the lesions
    T1C = "t1c"
    T2 = "t2"


@dataclass(frozen=True)
class _Signal:
    """Of each tissue, arbitrary units."""

    scalp: float
    skull: float
    grey: float
    white: float
    fluid: float
    lesion: float


_SIGNALS: Final[Mapping[Weighting, _Signal]] = {
    Weighting.FLAIR: _Signal(520.0, 40.0, 420.0, 340.0, 90.0, 760.0),
    Weighting.T1: _Signal(640.0, 40.0, 300.0, 420.0, 110.0, 240.0),
    Weighting.T1C: _Signal(640.0, 40.0, 310.0, 430.0, 110.0, 800.0),
    Weighting.T2: _Signal(420.0, 40.0, 400.0, 300.0, 780.0, 620.0),
}


def head(
    parameters: PhantomParameters = DEFAULT, *, weighting: Weighting = Weighting.FLAIR
) -> Phantom:
    """Build the head. Anatomy scales with the field of view; lesions are in mm.

    Args:
        parameters: the same ones give the same anatomy whatever the weighting.
        weighting: which series of a study it imitates.

    Returns:
        A phantom of modality MR; ``volume.stored`` is int16, no unit, Rician noise and a
        smooth bias of +-10 % as surface coils leave it.

    Raises:
        ValueError: the lesions do not fit into the brain.

    """
    rng = np.random.default_rng((parameters.seed, 2))
    grid = Grid.of(parameters)
    scalp, skull, grey, white, *ventricles = _solids(parameters, rng)
    values = np.zeros(parameters.shape, np.float32)
    truth = np.zeros(parameters.shape, np.uint8)
    signal = _SIGNALS[weighting]
    layers = [
        (scalp, signal.scalp, Tissue.BODY),
        (skull, signal.skull, Tissue.BONE),
        (grey, signal.grey, Tissue.BRAIN),
        (white, signal.white, Tissue.BRAIN),
        *((ventricle, signal.fluid, Tissue.VENTRICLE) for ventricle in ventricles),
    ]
    for solid, level, tissue in layers:
        inside = solid.on(grid)
        values[inside] = level
        truth[inside] = tissue
    balls = place_balls(parameters, rng, (grey,), keep_out=ventricles)
    paint_balls(values, grid, balls, signal.lesion)
    mark_balls(truth, grid, balls)
    affine = affine_of(parameters)
    lesions = to_spheres(balls, parameters, affine)
    lesions_ml = sum(lesion.volume_ml for lesion in lesions)
    ventricles_ml = sum(ventricle.volume_ml for ventricle in ventricles)
    return Phantom(
        modality="MR",
        volume=Volume(stored=_stored(values, grid, parameters, rng), affine=affine),
        truth=truth,
        lesions=lesions,
        analytic_ml={
            Tissue.BRAIN: grey.volume_ml - ventricles_ml - lesions_ml,
            Tissue.VENTRICLE: ventricles_ml,
            Tissue.LESION: lesions_ml,
        },
        parameters=parameters,
    )


def _solids(parameters: PhantomParameters, rng: np.random.Generator) -> tuple[Ellipsoid, ...]:
    """Return scalp, skull, grey matter, white matter and two ventricles."""
    depth, height, width = (
        n * step for n, step in zip(parameters.shape, parameters.spacing, strict=True)
    )
    if parameters.shape[0] == 1:  # a single slice cuts the head through the middle
        depth = height
    full = np.array([0.48 * depth, 0.45 * height, 0.4 * width]) * rng.uniform(0.94, 1.0, 3)

    def shell(share: float) -> Ellipsoid:
        z, y, x = (float(v) for v in full * share)
        return Ellipsoid((0.0, 0.0, 0.0), (z, y, x))

    def ventricle(side: int) -> Ellipsoid:
        middle = (0.05 * depth, 0.02 * height, side * 0.05 * width)
        return Ellipsoid(middle, (0.1 * depth, 0.13 * height, 0.032 * width))

    return shell(1.0), shell(0.94), shell(0.88), shell(0.74), ventricle(-1), ventricle(1)


def _stored(
    values: NDArray[np.float32],
    grid: Grid,
    parameters: PhantomParameters,
    rng: np.random.Generator,
) -> NDArray[np.int16]:
    """Return the magnitude image: bias, then Rician noise (Gudbjartsson and Patz 1995)."""
    half_width = np.float32(parameters.shape[2] * parameters.spacing[2] / 2.0)
    half_height = np.float32(parameters.shape[1] * parameters.spacing[1] / 2.0)
    bias = 1.0 + 0.06 * grid.x / half_width - 0.04 * grid.y / half_height
    sigma = np.float32(parameters.noise)
    real = values * bias + sigma * rng.standard_normal(values.shape, np.float32)
    imaginary = sigma * rng.standard_normal(values.shape, np.float32)
    stored: NDArray[np.int16] = np.rint(np.sqrt(real**2 + imaginary**2)).astype(np.int16)
    return stored
