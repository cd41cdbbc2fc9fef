"""What frames say of their place in the patient, checked (PS3.3 C.7.6.2)."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom.series.frames import LARGEST_SPACING, SMALLEST_SPACING, Frame
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason

Vector: TypeAlias = NDArray[np.float64]

#: Greatest difference of a direction cosine within one stack; exact equality refuses real data.
ORIENTATION_TOLERANCE: Final = 1e-3
#: Direction cosines are kept as decimal strings of at most 16 characters, often cut shorter.
_UNIT_TOLERANCE: Final = 1e-3
_FARTHEST: Final = 1e6


@dataclass(frozen=True, kw_only=True)
class Plane:
    """The orientation and the grid that all frames of a stack share."""

    #: from column to column, and from row to row; exactly orthonormal
    row_cosine: Vector
    column_cosine: Vector
    #: (between rows, between columns) in mm
    spacing: tuple[float, float]

    @functools.cached_property
    def normal(self) -> Vector:
        """Row cosine x column cosine."""
        return np.cross(self.row_cosine, self.column_cosine)

    def affine(self, origin: Vector, step: float) -> Vector:
        """Return (4, 4): index (slice, row, column, 1) to LPS mm.

        PixelSpacing is (between rows, between columns); the row cosine points along a row, so
        from column to column (PS3.3 C.7.6.2.1.1).
        """
        affine = np.eye(4)
        affine[:3, 0] = self.normal * step
        affine[:3, 1] = self.column_cosine * self.spacing[0]
        affine[:3, 2] = self.row_cosine * self.spacing[1]
        affine[:3, 3] = origin
        return affine


def refuse(sentence: str) -> StudyRejected:
    """Return the refusal of a geometry that is missing, broken or contradictory."""
    return StudyRejected(sentence, Reason.SERIES_GEOMETRY_INVALID)


def plane_of(frames: Sequence[Frame]) -> Plane:
    """Return the plane that all frames share.

    Raises:
        StudyRejected: orientation or spacing is absent, invalid or differs.

    """
    row, column = _axes(frames)
    return Plane(row_cosine=row, column_cosine=column, spacing=_pixel_spacing(frames))


def positions_of(frames: Sequence[Frame]) -> Vector:
    """Return the centres of the first voxels, (frames, 3), LPS mm.

    Raises:
        StudyRejected: a position is absent or invalid.

    """
    if any(f.position is None for f in frames):
        raise refuse("a slice states no ImagePositionPatient")
    positions = np.array([f.position for f in frames], np.float64)
    if not np.isfinite(positions).all() or np.abs(positions).max() > _FARTHEST:
        raise refuse("ImagePositionPatient holds values that are no positions")
    return positions


def _axes(frames: Sequence[Frame]) -> tuple[Vector, Vector]:
    """Return the row and column cosines of the stack, made exactly orthonormal."""
    if any(f.orientation is None for f in frames):
        raise refuse("a slice states no ImageOrientationPatient")
    cosines = np.array([f.orientation for f in frames], np.float64)
    if not np.isfinite(cosines).all():
        raise refuse("ImageOrientationPatient holds values that are no numbers")
    rows, columns = cosines[:, :3], cosines[:, 3:]
    lengths = np.linalg.norm(np.concatenate([rows, columns]), axis=1)
    if np.abs(lengths - 1).max() > _UNIT_TOLERANCE:
        raise refuse("ImageOrientationPatient holds no unit vectors")
    if np.abs(np.einsum("ij,ij->i", rows, columns)).max() > _UNIT_TOLERANCE:
        raise refuse("the vectors of ImageOrientationPatient are not at right angles")
    if np.abs(cosines - cosines[0]).max() > ORIENTATION_TOLERANCE:
        sentence = "slices of different orientation are mixed"
        raise StudyRejected(sentence, Reason.SERIES_MIXED_ORIENTATION)
    row = rows[0] / np.linalg.norm(rows[0])
    column = columns[0] - row * (row @ columns[0])
    return row, column / np.linalg.norm(column)


def _pixel_spacing(frames: Sequence[Frame]) -> tuple[float, float]:
    first = frames[0].pixel_spacing
    for spacing in dict.fromkeys(frame.pixel_spacing for frame in frames):
        if spacing is None or first is None:
            raise refuse("a slice states no PixelSpacing")
        if not all(SMALLEST_SPACING <= s <= LARGEST_SPACING for s in spacing):
            raise refuse("PixelSpacing is not a pair of positive numbers")
        if not all(math.isclose(a, b, rel_tol=1e-3) for a, b in zip(spacing, first, strict=True)):
            raise refuse("PixelSpacing differs between the slices")
    assert first is not None  # noqa: S101 - checked above for every slice
    return first[0], first[1]
