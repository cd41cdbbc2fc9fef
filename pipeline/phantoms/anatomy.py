"""What chest and head phantoms share: parameters, the grid, solids and the placing of lesions."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.results import Point
from pipeline.volume import Volume

Mask: TypeAlias = NDArray[np.bool_]
Triple: TypeAlias = tuple[float, float, float]

#: where the middle of every phantom lies in the patient (LPS, mm); not 0, so that a lost
#: origin shows
MIDDLE = (4.0, -7.5, 31.0)
_CLEARANCE_MM = 2.0
_TRIES = 4000


class Tissue(enum.IntEnum):
    """The labels of a truth map."""

    BACKGROUND = 0
    BODY = 1
    LUNG = 2
    BRAIN = 3
    LESION = 4
    VENTRICLE = 5
    BONE = 6


@dataclass(frozen=True, kw_only=True)
class PhantomParameters:
    """All that decides the voxels of a phantom."""

    #: (slices, rows, columns)
    shape: tuple[int, int, int]
    #: mm along (slices, rows, columns); rows and columns differ on purpose
    spacing: Triple
    seed: int = 0
    lesions: int = 3
    #: smallest and largest lesion radius, mm
    radius: tuple[float, float] = (5.0, 10.0)
    #: degrees the grid, with the anatomy in it, is turned about the x, y and z axis (in this order)
    rotation: Triple = (0.0, 0.0, 0.0)
    #: standard deviation of the noise in stored units
    noise: float = 12.0
    #: bright tubes in the lungs that are no lesions, for training; chest only
    vessels: int = 0


@dataclass(frozen=True, kw_only=True)
class Sphere:
    """A lesion: its centre in the patient (LPS, mm) and its radius in mm."""

    centre: Point
    radius: float

    @property
    def volume_ml(self) -> float:
        """Return 4/3 pi r^3 in millilitres."""
        return 4.0 / 3.0 * math.pi * self.radius**3 / 1000.0


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """A volume and the truth about it.

    ``truth`` is uint8 on the grid of ``volume`` and holds ``Tissue`` numbers. A voxel belongs
    to a solid when its centre does. ``analytic_ml`` holds closed-form volumes of truth labels.
    """

    modality: str
    volume: Volume
    truth: NDArray[np.uint8] = field(repr=False)
    lesions: tuple[Sphere, ...]
    analytic_ml: Mapping[Tissue, float]
    parameters: PhantomParameters

    def mask(self, tissue: Tissue) -> Mask:
        """Return where ``truth`` holds ``tissue``, shape (slices, rows, columns)."""
        return np.asarray(self.truth == tissue)


@dataclass(frozen=True)
class Grid:
    """Voxel centres in mm relative to the middle, as three broadcastable float32 axes."""

    z: NDArray[np.float32]
    y: NDArray[np.float32]
    x: NDArray[np.float32]

    @classmethod
    def of(cls, parameters: PhantomParameters) -> Grid:
        """Lay the grid; axes have shape (S, 1, 1), (1, R, 1) and (1, 1, C)."""
        z, y, x = (
            ((np.arange(n) - (n - 1) / 2.0) * step).astype(np.float32)
            for n, step in zip(parameters.shape, parameters.spacing, strict=True)
        )
        return cls(z[:, None, None], y[None, :, None], x[None, None, :])

    def squared_distance(self, centre: Triple) -> NDArray[np.float32]:
        """Return the squared distance to ``centre`` = (z, y, x), mm^2."""
        z, y, x = (np.float32(value) for value in centre)
        return np.asarray((self.z - z) ** 2 + (self.y - y) ** 2 + (self.x - x) ** 2)


@dataclass(frozen=True)
class Ellipsoid:
    """A solid along the axes of the grid; ``centre`` and ``half`` are (z, y, x) in mm."""

    centre: Triple
    half: Triple

    @property
    def volume_ml(self) -> float:
        """Return 4/3 pi a b c in millilitres."""
        return float(4.0 / 3.0 * math.pi * math.prod(self.half) / 1000.0)

    def on(self, grid: Grid) -> Mask:
        """Return which voxel centres are inside."""
        (cz, cy, cx), (hz, hy, hx) = self.centre, self.half
        plane = ((grid.y - cy) / hy) ** 2 + ((grid.x - cx) / hx) ** 2
        return np.asarray(((grid.z - cz) / hz) ** 2 + plane <= 1.0)

    def holds(self, ball: Ball) -> bool:
        """Say whether ``ball`` lies inside, with clearance, by its surface points."""
        points = np.asarray(ball.centre) + (ball.radius + _CLEARANCE_MM) * _DIRECTIONS
        scaled = (points - np.asarray(self.centre)) / np.asarray(self.half)
        return bool((scaled**2).sum(axis=1).max() <= 1.0)

    def touches(self, ball: Ball) -> bool:
        """Say whether ``ball`` may reach into this solid (its centre or a surface point does)."""
        points = np.vstack([np.zeros((1, 3)), _DIRECTIONS]) * (ball.radius + _CLEARANCE_MM)
        scaled = (points + np.asarray(ball.centre) - np.asarray(self.centre)) / np.asarray(
            self.half
        )
        return bool((scaled**2).sum(axis=1).min() <= 1.0)


@dataclass(frozen=True)
class Ball:
    """A lesion before it has a place in the patient; ``centre`` is (z, y, x) in mm."""

    centre: Triple
    radius: float


def _directions() -> NDArray[np.float64]:
    """Return 26 unit vectors: the neighbours of a voxel."""
    steps = [(a, b, c) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)]
    vectors = np.array([step for step in steps if any(step)], np.float64)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


_DIRECTIONS = _directions()


def place_balls(
    parameters: PhantomParameters,
    rng: np.random.Generator,
    homes: Sequence[Ellipsoid],
    keep_out: Sequence[Ellipsoid] = (),
) -> tuple[Ball, ...]:
    """Draw lesions inside ``homes``, apart from each other and from ``keep_out``.

    Raises:
        ValueError: they do not fit; the radius or the count is too large for the grid.

    """
    balls: list[Ball] = []
    for _ in range(_TRIES):
        if len(balls) == parameters.lesions:
            break
        home = homes[int(rng.integers(len(homes)))]
        ball = _draw_ball(parameters, rng, home)
        is_free = all(
            math.dist(ball.centre, other.centre) > ball.radius + other.radius + _CLEARANCE_MM
            for other in balls
        )
        if is_free and home.holds(ball) and not any(solid.touches(ball) for solid in keep_out):
            balls.append(ball)
    if len(balls) < parameters.lesions:
        message = f"{parameters.lesions} lesions of {parameters.radius} mm do not fit the phantom"
        raise ValueError(message)
    return tuple(balls)


def _draw_ball(parameters: PhantomParameters, rng: np.random.Generator, home: Ellipsoid) -> Ball:
    radius = float(rng.uniform(*parameters.radius))
    offset = rng.uniform(-1.0, 1.0, 3) * np.asarray(home.half)
    if parameters.shape[0] == 1:  # a single slice cuts its lesions through the middle
        offset[0] = -home.centre[0]
    z, y, x = (float(v) for v in np.asarray(home.centre) + offset)
    return Ball((z, y, x), radius)


def paint_balls(
    values: NDArray[np.float32], grid: Grid, balls: Sequence[Ball], level: float
) -> None:
    """Paint lesions in place, with soft edges.

    The edge blends over one in-plane voxel around the radius, as partial volume does, so that
    a threshold halfway finds the radius again.
    """
    edge = float(grid.y.ravel()[1] - grid.y.ravel()[0])
    for ball in balls:
        box, distance = _around(grid, ball)
        share = np.clip((ball.radius - distance) / edge + 0.5, 0.0, 1.0)
        values[box] += share * (np.float32(level) - values[box])


def mark_balls(truth: NDArray[np.uint8], grid: Grid, balls: Sequence[Ball]) -> None:
    """Mark the voxels whose centres lie in a lesion, in place."""
    for ball in balls:
        box, distance = _around(grid, ball)
        truth[box][distance <= ball.radius] = Tissue.LESION


def _around(grid: Grid, ball: Ball) -> tuple[tuple[slice, slice, slice], NDArray[np.float32]]:
    """Return the box of the grid around ``ball`` and the distances to its centre there, mm."""
    axes = (grid.z.ravel(), grid.y.ravel(), grid.x.ravel())
    z, y, x = (
        slice(*np.searchsorted(axis, (middle - ball.radius - 4.0, middle + ball.radius + 4.0)))
        for axis, middle in zip(axes, ball.centre, strict=True)
    )
    part = Grid(grid.z[z], grid.y[:, y], grid.x[:, :, x])
    return (z, y, x), np.sqrt(part.squared_distance(ball.centre))


def affine_of(parameters: PhantomParameters) -> NDArray[np.float64]:
    """Return the affine (slice, row, column, 1) -> LPS mm, turned about the middle."""
    axes = _rotation(parameters.rotation) @ np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], float)
    affine = np.eye(4)
    affine[:3, :3] = axes * np.asarray(parameters.spacing)
    half = (np.asarray(parameters.shape, float) - 1.0) / 2.0
    affine[:3, 3] = np.asarray(MIDDLE) - affine[:3, :3] @ half
    return affine


def to_spheres(
    balls: Sequence[Ball], parameters: PhantomParameters, affine: NDArray[np.float64]
) -> tuple[Sphere, ...]:
    """Put lesions into the patient."""
    axes = affine[:3, :3] / np.asarray(parameters.spacing)
    centres = [np.asarray(MIDDLE) + axes @ np.asarray(ball.centre) for ball in balls]
    return tuple(
        Sphere(centre=(float(c[0]), float(c[1]), float(c[2])), radius=ball.radius)
        for c, ball in zip(centres, balls, strict=True)
    )


def _rotation(degrees: Triple) -> NDArray[np.float64]:
    """Return the rotation about x, then y, then z."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        cosine, sine = math.cos(angle), math.sin(angle)
        i, j = ((1, 2), (2, 0), (0, 1))[axis]
        step = np.eye(3)
        step[i, i] = step[j, j] = cosine
        step[i, j], step[j, i] = -sine, sine
        turn = step @ turn
    return turn
