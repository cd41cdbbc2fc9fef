"""A CT chest: fat rim, muscle, ribs, spine, mediastinum, two lungs with nodules, the table."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.phantoms.anatomy import (
    Ball,
    Ellipsoid,
    Grid,
    Mask,
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

DEFAULT = PhantomParameters(shape=(48, 128, 128), spacing=(2.5, 2.6, 2.4))

#: Hounsfield units
_AIR, _FAT, _MUSCLE, _BLOOD, _LUNG, _BONE, _TABLE = -1000, -95, 50, 75, -830, 480, -150
_NODULE = 45
_INTERCEPT = -1024


def chest(parameters: PhantomParameters = DEFAULT) -> Phantom:
    """Build the chest. Anatomy scales with the field of view; lesions are in mm.

    Returns:
        A phantom of modality CT; ``volume.stored`` is int16 with slope 1 and intercept -1024.

    Raises:
        ValueError: the lesions do not fit into the lungs.

    """
    rng = np.random.default_rng((parameters.seed, 1))
    grid = Grid.of(parameters)
    values, truth, lungs = _anatomy(parameters, grid, rng)
    balls = place_balls(parameters, rng, lungs)
    _paint_vessels(values, grid, lungs, parameters.vessels, rng)
    paint_balls(values, grid, balls, _NODULE)
    mark_balls(truth, grid, balls)
    affine = affine_of(parameters)
    lesions = to_spheres(balls, parameters, affine)
    lesions_ml = sum(lesion.volume_ml for lesion in lesions)
    return Phantom(
        modality="CT",
        volume=Volume(
            stored=_stored(values, parameters, rng),
            affine=affine,
            intercept=float(_INTERCEPT),
            unit="HU",
        ),
        truth=truth,
        lesions=lesions,
        analytic_ml={
            Tissue.LUNG: sum(lung.volume_ml for lung in lungs) - lesions_ml,
            Tissue.LESION: lesions_ml,
        },
        parameters=parameters,
    )


def _anatomy(
    parameters: PhantomParameters, grid: Grid, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8], tuple[Ellipsoid, Ellipsoid]]:
    """Return Hounsfield units, truth and the lungs (patient's right first)."""
    _, height, width = _extent(parameters)
    outline = (grid.y / (0.36 * height)) ** 2 + (grid.x / (0.44 * width)) ** 2
    plane = np.full(outline.shape, _AIR, np.float32)
    plane[outline <= 1.0] = _FAT
    plane[outline <= 0.93**2] = _MUSCLE
    heart = (grid.y + 0.02 * height) ** 2 / (0.18 * height) ** 2 + (grid.x / (0.045 * width)) ** 2
    plane[heart <= 1.0] = _BLOOD
    is_spine = (grid.y - 0.21 * height) ** 2 + grid.x**2 <= (0.055 * width) ** 2
    plane[is_spine] = _BONE
    is_table = (np.abs(grid.y - 0.42 * height) <= 0.015 * height) & (np.abs(grid.x) <= 0.4 * width)
    plane[is_table] = _TABLE
    values = np.broadcast_to(plane, parameters.shape).copy()
    truth = np.zeros(parameters.shape, np.uint8)
    truth[:, outline[0] <= 1.0] = Tissue.BODY
    is_bone = np.broadcast_to(is_spine, parameters.shape) | _ribs(grid, outline)
    values[is_bone] = _BONE
    truth[is_bone] = Tissue.BONE
    lungs = _lungs(parameters, rng)
    for lung in lungs:
        inside = lung.on(grid)
        values[inside] = _LUNG
        truth[inside] = Tissue.LUNG
    return values, truth, lungs


def _extent(parameters: PhantomParameters) -> tuple[float, float, float]:
    depth, height, width = (
        n * step for n, step in zip(parameters.shape, parameters.spacing, strict=True)
    )
    return depth, height, width


def _ribs(grid: Grid, outline: NDArray[np.float32]) -> Mask:
    """Return slanting pieces of the ring between lungs and fat."""
    is_ring = (outline > 0.885**2) & (outline <= 0.925**2)
    angle = np.arctan2(grid.y, np.abs(grid.x))
    return np.asarray(is_ring & (np.sin(grid.z / 5.5 + 3.0 * angle) > 0.35))


def _lungs(parameters: PhantomParameters, rng: np.random.Generator) -> tuple[Ellipsoid, Ellipsoid]:
    """Return two ellipsoids wholly inside the grid; the seed varies their size by up to 8 %."""
    depth, height, width = _extent(parameters)
    # a single slice cuts the lungs through the middle, so they must not end inside it
    half_depth = 0.45 * depth if parameters.shape[0] > 1 else 0.35 * height

    def one(side: int) -> Ellipsoid:
        a, b, c = rng.uniform(0.92, 1.0, 3)
        centre = (0.0, -0.02 * height, side * 0.2 * width)
        return Ellipsoid(centre, (a * half_depth, b * 0.24 * height, c * 0.145 * width))

    return one(-1), one(1)


def _paint_vessels(
    values: NDArray[np.float32],
    grid: Grid,
    lungs: tuple[Ellipsoid, Ellipsoid],
    count: int,
    rng: np.random.Generator,
) -> None:
    """Paint strings of beads that run from the hilum outward; they stay LUNG in the truth."""
    for _ in range(count):
        lung = lungs[int(rng.integers(2))]
        start = np.array([lung.centre[0], lung.centre[1], lung.centre[2] * 0.4])
        direction = rng.normal(size=3)
        direction[2] = abs(direction[2]) * math.copysign(1.0, lung.centre[2])
        direction /= np.linalg.norm(direction)
        length = 1.2 * max(lung.half)
        for step in np.arange(0.0, length, 2.0):
            z, y, x = (float(v) for v in start + step * direction)
            bead = Ball((z, y, x), 2.6 - 1.4 * step / length)
            if lung.holds(bead):
                paint_balls(values, grid, (bead,), _NODULE)


def _stored(
    values: NDArray[np.float32], parameters: PhantomParameters, rng: np.random.Generator
) -> NDArray[np.int16]:
    """Add noise and go to stored values: int16, 0..4095."""
    noise = rng.standard_normal(values.shape, np.float32) * np.float32(parameters.noise)
    stored: NDArray[np.int16] = np.rint(
        np.clip(values + noise - np.float32(_INTERCEPT), 0, 4095)
    ).astype(np.int16)
    return stored
