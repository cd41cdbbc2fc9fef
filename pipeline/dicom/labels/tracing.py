"""The shapes of a report (PS3.3 C.18.6, C.18.9) on the grid of a volume."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom.labels import polygons
from pipeline.dicom.labels.grid import TOLERANCE, Grid, Reference
from pipeline.dicom.labels.patches import Patches
from pipeline.dicom.labels.refusal import invalid, mismatch

Vector: TypeAlias = NDArray[np.float64]

_LARGEST: Final = 1e6
#: the points that each type of graphic needs (PS3.3 C.18.6.1.2, C.18.9.1.2)
_COUNTS: Final = {"POINT": 1, "CIRCLE": 2, "ELLIPSE": 4, "ELLIPSOID": 6}
_LEAST: Final = {"POLYLINE": 3, "POLYGON": 3}
_CLOSED: Final = 1e-3
_UNSUPPORTED: Final = "points and open lines enclose nothing; they are left out"


@dataclass(kw_only=True)
class Outline:
    """The shapes of one measurement group, as index coordinates (slice, row, column)."""

    grid: Grid
    #: slice -> polygons (row, column)
    flat: dict[int, list[Vector]] = field(default_factory=lambda: defaultdict(list))
    #: centre and half axes of ellipsoids, (4, 3)
    solids: list[Vector] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Say whether nothing encloses anything."""
        return not self.flat and not self.solids

    def add_pixels(self, kind: str, numbers: Vector, source: Reference) -> None:
        """Add a graphic on one image: (column, row) pairs from the corner of its first pixel.

        Raises:
            StudyRejected: numbers that make no such graphic, or an image of no slice here.

        """
        points = _points(kind, numbers, 2)
        place = self.grid.slice_of(source)
        if place is None:
            raise mismatch("a region is drawn on an image that is no slice of the volume")
        row, column = self.grid.shifts.get((source[0], source[1] or 1), (0.0, 0.0))
        flat = points[:, ::-1] - 0.5 + np.array([row, column])
        shape = _corners(kind, flat)
        if shape is None:
            self.warnings.append(_UNSUPPORTED)
        else:
            self.flat[place].append(shape)

    def add_places(self, kind: str, numbers: Vector) -> None:
        """Add a graphic in the patient, LPS mm.

        Raises:
            StudyRejected: numbers that make no such graphic, or a graphic across slices.

        """
        points = self.grid.index(_points(kind, numbers, 3))
        if kind == "ELLIPSOID":
            ends = points.reshape(3, 2, 3)
            centre = points.mean(axis=0)
            self.solids.append(np.concatenate([[centre], (ends[:, 1] - ends[:, 0]) / 2]))
            return
        shape = _corners(kind, points)
        if shape is None:
            self.warnings.append(_UNSUPPORTED)
            return
        place = round(float(np.median(shape[:, 0])))
        if np.abs(shape[:, 0] - place).max() > TOLERANCE:
            raise mismatch("a region lies between or across the slices of the image")
        if not 0 <= place < self.grid.shape[0]:
            raise mismatch("a region lies above or below the image")
        self.flat[place].append(shape[:, 1:])

    def extent(self) -> tuple[Vector, Vector]:
        """Return the least and the greatest (slice, row, column); a slice is one voxel thick."""
        lows, highs = [], []
        for place, flat in self.flat.items():
            points = np.concatenate(flat)
            lows.append(np.array([place - 0.5, *points.min(axis=0)]))
            highs.append(np.array([place + 0.5, *points.max(axis=0)]))
        for solid in self.solids:
            reach = np.sqrt((solid[1:] ** 2).sum(axis=0))
            lows.append(solid[0] - reach)
            highs.append(solid[0] + reach)
        return np.min(lows, axis=0), np.max(highs, axis=0)

    def trace(self, patches: Patches) -> None:
        """Add the voxels whose centres lie inside."""
        for place, flat in self.flat.items():
            (row, column), mask = polygons.fill_window(flat, self.grid.shape[1:])
            patches.add((place, row, column), mask[None])
        for solid in self.solids:
            self._trace_solid(solid, patches)

    def _trace_solid(self, solid: Vector, patches: Patches) -> None:
        reach = np.sqrt((solid[1:] ** 2).sum(axis=0))
        low = np.clip(np.floor(solid[0] - reach), 0, self.grid.shape).astype(int)
        high = np.clip(np.ceil(solid[0] + reach) + 1, low, self.grid.shape).astype(int)
        back = np.linalg.inv(solid[1:].T)
        grids = np.meshgrid(
            *(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"
        )
        away = (np.stack(grids, axis=-1) - solid[0]) @ back.T
        inside = (away**2).sum(axis=-1) <= 1.0
        if inside.size:
            patches.add((int(low[0]), int(low[1]), int(low[2])), inside)


def _points(kind: str, numbers: Vector, axes: int) -> Vector:
    if not np.isfinite(numbers).all() or np.abs(numbers).max(initial=0) > _LARGEST:
        raise invalid("the points of a region are no places")
    count, rest = divmod(len(numbers), axes)
    is_counted = count == _COUNTS[kind] if kind in _COUNTS else count >= _LEAST.get(kind, 1)
    if rest or not is_counted:
        raise invalid("a region has not the points that its shape needs")
    return numbers.reshape(-1, axes)


def _corners(kind: str, points: Vector) -> Vector | None:
    """Return a closed shape as a polygon in the space of its points; None where it is not closed.

    An ellipse is given by the ends of its axes, a circle by its centre and a point on it.
    """
    if kind == "POLYGON":
        return points
    if kind == "POLYLINE":
        is_closed = np.abs(points[0] - points[-1]).max() <= _CLOSED * max(1.0, np.ptp(points))
        return points[:-1] if is_closed and len(points) > 3 else None
    if kind == "CIRCLE" and points.shape[1] == 2:
        radius = float(np.linalg.norm(points[1] - points[0]))
        return polygons.ellipse(points[0], np.array([radius, 0.0]), np.array([0.0, radius]))
    if kind == "ELLIPSE":
        centre = points.mean(axis=0)
        return polygons.ellipse(centre, (points[1] - points[0]) / 2, (points[3] - points[2]) / 2)
    return None
