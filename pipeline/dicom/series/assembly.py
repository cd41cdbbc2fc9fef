"""Put slices in their places, or say why they have none (PS3.3 C.7.6.2).

No library reader is a safe gate: each answers wrongly on some broken series without an error.
So the headers are checked here, before a pixel is read.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom import sop_classes
from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.errors import StudyRejected
from pipeline.policies import Policies
from pipeline.reasons import Reason

Vector: TypeAlias = NDArray[np.float64]

_REFUSE: Final = Policies()
#: Two slices leave no second distance to check the first against.
MINIMUM_SLICES: Final = 3
#: Greatest difference of a direction cosine within one stack; exact equality refuses real data.
ORIENTATION_TOLERANCE: Final = 1e-3
#: Direction cosines are kept as decimal strings of at most 16 characters, often cut shorter.
_UNIT_TOLERANCE: Final = 1e-3
#: Slice distances may differ by this share of their median, or by the rounding of a decimal.
_STEP_TOLERANCE: Final = 0.01
_ROUNDING: Final = 0.01
#: Sideways shift of a slice per mm from the first: more is a tilted gantry.
_SHEAR_TOLERANCE: Final = 1e-3
_SMALLEST_SPACING, _LARGEST_SPACING = 1e-3, 1e3
_LARGEST_RESCALE: Final = 1e9
_LOCALIZER: Final = ("LOCALIZER", "SCOUT", "SURVIEW", "TOPOGRAM")


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Slices in order along their normal, and the grid they make."""

    #: positions in the sequence that was given
    order: tuple[int, ...]
    #: (4, 4): index (slice, row, column, 1) to LPS mm
    affine: Vector
    warnings: tuple[str, ...] = ()

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between (slices, rows, columns) in mm."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(lengths[0]), float(lengths[1]), float(lengths[2])


@dataclass(frozen=True, kw_only=True)
class Rescale:
    """How stored values become values: one slope and intercept, or one per slice."""

    slopes: tuple[float, ...]
    intercepts: tuple[float, ...]

    @property
    def is_uniform(self) -> bool:
        """Say whether all slices share one slope and one intercept."""
        return len(set(self.slopes)) == 1 and len(set(self.intercepts)) == 1


def stack(headers: Sequence[InstanceHeader], *, policies: Policies = _REFUSE) -> Stack:
    """Order the slices of one volume and find its affine.

    Slice spacing comes from the positions alone; SliceThickness is how much tissue a slice
    shows, not how far the next one is.

    Args:
        headers: single-frame instances with a place in the patient, in any order.
        policies: what to do with slices that are not plainly sound.

    Raises:
        StudyRejected: the slices are not one regular, orthogonal stack; the reason says why.

    """
    if len(headers) < MINIMUM_SLICES:
        sentence = f"{len(headers)} slices are too few; a volume needs {MINIMUM_SLICES}"
        raise StudyRejected(sentence, Reason.SERIES_TOO_FEW_SLICES)
    row_cosine, column_cosine = _axes(headers)
    row_spacing, column_spacing = _pixel_spacing(headers)
    normal = np.cross(row_cosine, column_cosine)
    positions = _positions(headers)
    depths = positions @ normal
    order = np.argsort(depths, kind="stable")
    positions, depths = positions[order], depths[order]
    _check_distinct(depths)
    _check_shear(positions, depths, normal)
    first, last, warnings = _regular_run(depths, policies.missing_slice)
    order, positions, depths = order[first:last], positions[first:last], depths[first:last]
    step = (depths[-1] - depths[0]) / (len(depths) - 1)
    affine = np.eye(4)
    # PixelSpacing is (between rows, between columns); the row cosine points along a row, so
    # from column to column (PS3.3 C.7.6.2.1.1).
    affine[:3, 0] = normal * step
    affine[:3, 1] = column_cosine * row_spacing
    affine[:3, 2] = row_cosine * column_spacing
    affine[:3, 3] = positions[0]
    return Stack(order=tuple(int(i) for i in order), affine=affine, warnings=warnings)


def rescale(headers: Sequence[InstanceHeader]) -> Rescale:
    """Return slope and intercept of every slice (PS3.3 C.11.1); 1 and 0 where absent.

    Raises:
        StudyRejected: a value that is not finite, out of bounds, or a slope of zero.

    """
    if any(_lacks_rescale(h) for h in headers):
        sentence = "a CT slice states no RescaleSlope and RescaleIntercept, so no HU"
        raise StudyRejected(sentence, Reason.PIXELS_RESCALE_NOT_FINITE)
    slopes = tuple(1.0 if h.slope is None else h.slope for h in headers)
    intercepts = tuple(0.0 if h.intercept is None else h.intercept for h in headers)
    is_bounded = all(abs(v) <= _LARGEST_RESCALE for v in itertools.chain(slopes, intercepts))
    if not is_bounded or any(abs(slope) < 1 / _LARGEST_RESCALE for slope in slopes):
        sentence = "RescaleSlope or RescaleIntercept is not finite, zero or out of bounds"
        raise StudyRejected(sentence, Reason.PIXELS_RESCALE_NOT_FINITE)
    if any(h.has_modality_lut for h in headers):
        sentence = "its values are kept in a modality lookup table, which is not supported"
        raise StudyRejected(sentence, Reason.PIXELS_UNSUPPORTED)
    return Rescale(slopes=slopes, intercepts=intercepts)


def check_kind(header: InstanceHeader) -> None:
    """Refuse what no reader of ours turns into voxels, by name.

    Raises:
        StudyRejected: enhanced multi-frame, mosaic, localizer, contradicting bits.

    """
    if header.sop_class_uid in sop_classes.ENHANCED_CLASSES:
        name = sop_classes.name_of(header.sop_class_uid)
        sentence = f"{name} (many frames with a place each) is not supported"
        raise StudyRejected(sentence, Reason.SERIES_UNSUPPORTED)
    if {"MOSAIC", "VFRAME"} & set(header.image_type):
        sentence = "many slices tiled into one image (mosaic) are not supported"
        raise StudyRejected(sentence, Reason.SERIES_UNSUPPORTED)
    if any(word in value for value in header.image_type for word in _LOCALIZER):
        sentence = "it is a localizer, made to plan other series"
        raise StudyRejected(sentence, Reason.SERIES_LOCALIZER)
    if not header.high_bit + 1 == header.bits_stored <= header.bits_allocated:
        sentence = "BitsAllocated, BitsStored and HighBit contradict each other"
        raise StudyRejected(sentence, Reason.PIXELS_UNSUPPORTED)


def spacing_of(header: InstanceHeader) -> tuple[float, float] | None:
    """Return the valid (between rows, between columns) in mm of one image, or None."""
    for spacing in (header.pixel_spacing, header.imager_pixel_spacing):
        if spacing is not None and all(_SMALLEST_SPACING <= s <= _LARGEST_SPACING for s in spacing):
            return spacing[0], spacing[1]
    return None


def normal_of(orientation: Sequence[float]) -> Vector:
    """Return the slice normal of six direction cosines: row cosine x column cosine."""
    cosines = np.asarray(orientation, np.float64)
    return np.cross(cosines[:3], cosines[3:])


def _lacks_rescale(header: InstanceHeader) -> bool:
    """CT Image Storage must state both (PS3.3 C.8.2.1, type 1); other kinds may leave them out."""
    is_ct = header.sop_class_uid == sop_classes.CT_IMAGE
    return is_ct and (header.slope is None or header.intercept is None)


def _refuse_geometry(sentence: str) -> StudyRejected:
    return StudyRejected(sentence, Reason.SERIES_GEOMETRY_INVALID)


def _axes(headers: Sequence[InstanceHeader]) -> tuple[Vector, Vector]:
    """Return the row and column cosines of the stack, made exactly orthonormal."""
    if any(h.orientation is None for h in headers):
        raise _refuse_geometry("a slice states no ImageOrientationPatient")
    cosines = np.array([h.orientation for h in headers], np.float64)
    if not np.isfinite(cosines).all():
        raise _refuse_geometry("ImageOrientationPatient holds values that are no numbers")
    rows, columns = cosines[:, :3], cosines[:, 3:]
    lengths = np.linalg.norm(np.concatenate([rows, columns]), axis=1)
    if np.abs(lengths - 1).max() > _UNIT_TOLERANCE:
        raise _refuse_geometry("ImageOrientationPatient holds no unit vectors")
    if np.abs(np.einsum("ij,ij->i", rows, columns)).max() > _UNIT_TOLERANCE:
        raise _refuse_geometry("the vectors of ImageOrientationPatient are not at right angles")
    if np.abs(cosines - cosines[0]).max() > ORIENTATION_TOLERANCE:
        sentence = "slices of different orientation are mixed"
        raise StudyRejected(sentence, Reason.SERIES_MIXED_ORIENTATION)
    row = rows[0] / np.linalg.norm(rows[0])
    column = columns[0] - row * (row @ columns[0])
    return row, column / np.linalg.norm(column)


def _pixel_spacing(headers: Sequence[InstanceHeader]) -> tuple[float, float]:
    first = headers[0].pixel_spacing
    for header in headers:
        spacing = header.pixel_spacing
        if spacing is None or first is None:
            raise _refuse_geometry("a slice states no PixelSpacing")
        if not all(_SMALLEST_SPACING <= s <= _LARGEST_SPACING for s in spacing):
            raise _refuse_geometry("PixelSpacing is not a pair of positive numbers")
        if not all(math.isclose(a, b, rel_tol=1e-3) for a, b in zip(spacing, first, strict=True)):
            raise _refuse_geometry("PixelSpacing differs between the slices")
    assert first is not None  # noqa: S101 - checked above for every slice
    return first[0], first[1]


def _positions(headers: Sequence[InstanceHeader]) -> Vector:
    if any(h.position is None for h in headers):
        raise _refuse_geometry("a slice states no ImagePositionPatient")
    positions = np.array([h.position for h in headers], np.float64)
    if not np.isfinite(positions).all() or np.abs(positions).max() > 1e6:
        raise _refuse_geometry("ImagePositionPatient holds values that are no positions")
    return positions


def _check_distinct(depths: Vector) -> None:
    steps = np.diff(depths)
    same = int((steps <= max(1e-4, _STEP_TOLERANCE * float(np.median(steps)))).sum())
    if same:
        sentence = f"{same + 1} or more slices share a position"
        raise StudyRejected(sentence, Reason.SERIES_DUPLICATE_POSITION)


def _check_shear(positions: Vector, depths: Vector, normal: Vector) -> None:
    """Refuse slices that do not lie straight above each other."""
    heights = depths - depths[0]
    sideways = (positions - positions[0]) - np.outer(heights, normal)
    shifts = np.linalg.norm(sideways, axis=1)
    if (shifts <= _SHEAR_TOLERANCE * heights + 2 * _ROUNDING).all():
        return
    tilt = sideways[-1] / heights[-1]
    is_straight = np.linalg.norm(sideways - np.outer(heights, tilt), axis=1).max() < 0.1
    if is_straight:
        degrees = math.degrees(math.atan(float(np.linalg.norm(tilt))))
        sentence = f"the slices are sheared by {degrees:.1f} degrees, as by a tilted gantry"
        raise StudyRejected(sentence, Reason.SERIES_GANTRY_TILT)
    raise _refuse_geometry("the slices are shifted sideways against each other")


def _regular_run(depths: Vector, missing_slice: str) -> tuple[int, int, tuple[str, ...]]:
    """Return (first, past the last, warnings) of the slices to use."""
    steps = np.diff(depths)
    # the lower median: with as many gaps as whole steps, the shorter distance is the usual one
    usual = float(np.sort(steps)[(len(steps) - 1) // 2])
    tolerance = max(_STEP_TOLERANCE * usual, _ROUNDING)
    gaps = np.flatnonzero(steps > 1.5 * usual)
    first, last = 0, len(depths)
    warnings: tuple[str, ...] = ()
    if gaps.size and missing_slice == "refuse":
        widest = float(steps.max())
        sentence = f"slices are missing: {widest:.3g} mm where {usual:.3g} mm are usual"
        raise StudyRejected(sentence, Reason.SERIES_MISSING_SLICE)
    if gaps.size:
        edges = [0, *(int(gap) + 1 for gap in gaps), len(depths)]
        first, last = max(itertools.pairwise(edges), key=lambda run: run[1] - run[0])
        warnings = (f"slices are missing: only {last - first} of {len(depths)} are used",)
        if last - first < MINIMUM_SLICES:
            sentence = "no three slices follow each other without a gap"
            raise StudyRejected(sentence, Reason.SERIES_TOO_FEW_SLICES)
    run = depths[first:last]
    ideal = np.linspace(run[0], run[-1], len(run))
    is_regular = np.abs(np.diff(run) - usual).max() <= tolerance
    if not is_regular or np.abs(run - ideal).max() > max(0.1 * usual, 2 * _ROUNDING):
        raise _refuse_geometry("the distances between the slices differ")
    return first, last, warnings
