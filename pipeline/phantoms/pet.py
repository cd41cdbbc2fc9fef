"""A PET torso: a little uptake everywhere, much in the lesions."""

from __future__ import annotations

from typing import Final

import numpy as np

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
    shape=(24, 48, 48), spacing=(4.0, 5.2, 5.0), lesions=2, radius=(11.0, 16.0), noise=40.0
)
#: SUV by body weight, g/mL
BODY, LESION = 1.0, 9.0
#: SUV of one stored unit
_SLOPE: Final = 1e-3


def torso(parameters: PhantomParameters = DEFAULT) -> Phantom:
    """Build the torso. Anatomy scales with the field of view; lesions are in mm.

    Returns:
        A phantom of modality PT; ``volume.stored`` is int16, ``volume.unit`` g/mL (SUV by body
        weight).

    Raises:
        ValueError: the lesions do not fit into the body.

    """
    rng = np.random.default_rng((parameters.seed, 5))
    grid = Grid.of(parameters)
    depth, height, width = (
        count * step for count, step in zip(parameters.shape, parameters.spacing, strict=True)
    )
    body = Ellipsoid((0.0, 0.0, 0.0), (0.7 * depth, 0.36 * height, 0.44 * width))
    inside = body.on(grid)
    values = np.where(inside, np.float32(BODY), np.float32(0.0))
    truth = inside.astype(np.uint8) * np.uint8(Tissue.BODY)
    room = Ellipsoid(body.centre, (0.45 * depth, *body.half[1:]))
    balls = place_balls(parameters, rng, (room,))
    paint_balls(values, grid, balls, LESION)
    mark_balls(truth, grid, balls)
    noise = parameters.noise * rng.standard_normal(values.shape, np.float32) * inside
    stored = np.rint(np.maximum(values / np.float32(_SLOPE) + noise, 0)).astype(np.int16)
    affine = affine_of(parameters)
    lesions = to_spheres(balls, parameters, affine)
    return Phantom(
        modality="PT",
        volume=Volume(stored=stored, affine=affine, slope=_SLOPE, unit="g/mL"),
        truth=truth,
        lesions=lesions,
        analytic_ml={Tissue.LESION: sum(lesion.volume_ml for lesion in lesions)},
        parameters=parameters,
    )
