"""Put slices in their places, or say why they have none (PS3.3 C.7.6.2).

No library reader is a safe gate: each answers wrongly on some broken series without an error.
So the headers are checked here, before a pixel is read.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom.series import regridding
from pipeline.dicom.series.frames import Frame
from pipeline.dicom.series.geometry import Plane, Vector, plane_of, positions_of, refuse
from pipeline.errors import StudyRejected
from pipeline.policies import Policies
from pipeline.reasons import Reason
from pipeline.volume import Regridding

_REFUSE: Final = Policies()
#: Positions are kept as decimals, so distances may be off by this many mm.
_ROUNDING: Final = 0.01
#: Sideways shift of a slice per mm from the first: more is a tilted gantry.
_SHEAR_TOLERANCE: Final = 1e-3
#: Gantries tilt by 30 degrees at most; beyond this it is no tilt but another mistake.
_STEEPEST: Final = math.radians(45)
#: What may be filled where the policy says so: beyond, too much would be made up.
_MOST_MISSING_IN_A_ROW: Final = 2
_MOST_MISSING_SHARE: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Slices in order along their normal, and the grid they make."""

    #: positions in the sequence that was given; what a policy left out is not in it
    order: tuple[int, ...]
    #: (4, 4): index (slice, row, column, 1) to LPS mm
    affine: Vector
    #: (slices, rows, columns) of the grid
    shape: tuple[int, int, int]
    warnings: tuple[str, ...] = ()
    #: how the slices lie on the grid; None where every slice of the grid is one of them
    regridding: Regridding | None = None

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between (slices, rows, columns) in mm."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(lengths[0]), float(lengths[1]), float(lengths[2])


def stack(frames: Sequence[Frame], *, policies: Policies = _REFUSE) -> Stack:
    """Order the slices of one volume and find its affine.

    Slice spacing comes from the positions alone; SliceThickness is how much tissue a slice
    shows, not how far the next one is, and SpacingBetweenSlices is a hint that is often wrong.

    Args:
        frames: single slices or the frames of one part of an instance, in any order.
        policies: what to do with slices that are not plainly sound.

    Raises:
        StudyRejected: the slices are not one regular, orthogonal stack; the reason says why.

    """
    _check_count(len(frames), policies)
    if len({(f.header.rows, f.header.columns) for f in frames}) > 1:
        raise refuse("the slices have different numbers of rows or columns")
    plane, positions = plane_of(frames), positions_of(frames)
    order = np.argsort(positions @ plane.normal, kind="stable")
    order, left_out = _distinct(frames, positions, plane, order, policies)
    _check_count(len(order), policies)
    tilt, tilted = _tilt(positions[order], plane, policies)
    depths = positions[order] @ plane.normal
    run, places, gaps = _places(depths, policies)
    order, depths = order[run], depths[run]
    step = (depths[-1] - depths[0]) / places[-1]
    size = (frames[0].header.rows, frames[0].header.columns)
    laid = regridding.lay(positions[order], places, plane, size, is_tilted=tilt)
    return Stack(
        order=tuple(int(i) for i in order),
        affine=plane.affine(laid.origin, step),
        shape=laid.shape,
        warnings=(*left_out, *tilted, *gaps, *_contradictions(frames[int(order[0])], step)),
        regridding=laid.regridding,
    )


def _check_count(count: int, policies: Policies) -> None:
    """Refuse too few slices: two leave no second distance to check the first against."""
    if count < policies.minimum_slices:
        sentence = f"{count} slices are too few; a volume needs {policies.minimum_slices}"
        raise StudyRejected(sentence, Reason.SERIES_TOO_FEW_SLICES)


def _distinct(
    frames: Sequence[Frame],
    positions: Vector,
    plane: Plane,
    order: NDArray[np.intp],
    policies: Policies,
) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Return the order with one slice per position, and what was left out."""
    steps = np.diff(positions[order] @ plane.normal)
    usual = float(np.median(steps))
    is_same = steps <= max(1e-4, policies.spacing_tolerance * usual)
    if not is_same.any():
        return order, ()
    sentence = f"{int(is_same.sum()) + 1} or more slices share a position"
    refused = StudyRejected(sentence, Reason.SERIES_DUPLICATE_POSITION)
    if policies.duplicate_position == "refuse":
        raise refused
    kept = []
    for group in np.split(order, np.flatnonzero(~is_same) + 1):
        together = [frames[int(i)] for i in group]
        apart = np.linalg.norm(positions[group] - positions[group[0]], axis=1).max()
        if any(f.phases != together[0].phases for f in together) or apart > 2 * _ROUNDING:
            raise refused
        kept.append(min(group, key=lambda i: _first(frames[int(i)])))
    dropped = len(order) - len(kept)
    return np.array(kept), (f"slices at the position of another one were left out: {dropped}",)


def _first(frame: Frame) -> tuple[float, str, int]:
    number = frame.header.instance_number
    return math.inf if number is None else number, frame.header.sop_instance_uid, frame.number


def _tilt(positions: Vector, plane: Plane, policies: Policies) -> tuple[bool, tuple[str, ...]]:
    """Say whether slices, in order, are sheared and to be shifted back.

    Raises:
        StudyRejected: they do not lie straight above each other, and no policy reads that.

    """
    moved = positions - positions[0]
    heights = moved @ plane.normal
    sideways = moved - np.outer(heights, plane.normal)
    shifts = np.linalg.norm(sideways, axis=1)
    if (shifts <= _SHEAR_TOLERANCE * heights + 2 * _ROUNDING).all():
        return False, ()
    tilt = sideways[-1] / heights[-1]
    angle = math.atan(float(np.linalg.norm(tilt)))
    is_straight = np.linalg.norm(sideways - np.outer(heights, tilt), axis=1).max() < 0.1
    if not is_straight or angle > _STEEPEST:
        raise refuse("the slices are shifted sideways against each other")
    sentence = f"the slices are sheared by {math.degrees(angle):.1f} degrees, as by a tilted gantry"
    if policies.gantry_tilt == "refuse":
        raise StudyRejected(sentence, Reason.SERIES_GANTRY_TILT)
    return True, (f"{sentence}; they were shifted above each other by linear interpolation",)


def _places(depths: Vector, policies: Policies) -> tuple[slice, tuple[int, ...], tuple[str, ...]]:
    """Return (which slices to use, their places on the grid, warnings)."""
    steps = np.diff(depths)
    # the lower median: with as many gaps as whole steps, the shorter distance is the usual one
    usual = float(np.sort(steps)[(len(steps) - 1) // 2])
    gaps = np.flatnonzero(steps > 1.5 * usual)
    run, multiples = slice(0, len(depths)), np.ones(len(steps), np.int64)
    warnings: tuple[str, ...] = ()
    if gaps.size and policies.missing_slice == "refuse":
        raise _missing(f"{steps.max():.3g} mm where {usual:.3g} mm are usual")
    if gaps.size and policies.missing_slice == "longest_run":
        edges = [0, *(int(gap) + 1 for gap in gaps), len(depths)]
        run = slice(*max(itertools.pairwise(edges), key=lambda ends: ends[1] - ends[0]))
        multiples = multiples[run.start : run.stop - 1]
        count = run.stop - run.start
        warnings = (f"slices are missing: only {count} of {len(depths)} are used",)
        _check_count(count, policies)
    elif gaps.size:
        multiples, warnings = _filled(steps, usual)
    places = np.concatenate([[0], np.cumsum(multiples)])
    _check_regular(depths[run], places, usual, policies)
    return run, tuple(int(place) for place in places), warnings


def _filled(steps: Vector, usual: float) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return how many places each step spans, where few enough slices are missing to be filled."""
    multiples = np.rint(steps / usual).astype(np.int64)
    missing = int((multiples - 1).sum())
    if multiples.max() - 1 > _MOST_MISSING_IN_A_ROW:
        raise _missing(f"{multiples.max() - 1} in a row are too many to fill")
    count = len(steps) + 1 + missing
    if missing > _MOST_MISSING_SHARE * count:
        raise _missing(f"{missing} of {count} are too many to fill")
    told = f"missing slices were filled by linear interpolation: {missing} of {count}"
    return multiples, (told,)


def _missing(sentence: str) -> StudyRejected:
    return StudyRejected(f"slices are missing: {sentence}", Reason.SERIES_MISSING_SLICE)


def _check_regular(
    depths: Vector, places: NDArray[np.int64], usual: float, policies: Policies
) -> None:
    """Refuse distances that are no whole steps, and an error that adds up over many slices."""
    tolerance = max(policies.spacing_tolerance * usual, _ROUNDING)
    ideal = depths[0] + (depths[-1] - depths[0]) * places / places[-1]
    is_regular = np.abs(np.diff(depths) - np.diff(places) * usual).max() <= tolerance
    drift = max(0.1 * usual, policies.spacing_tolerance * usual, 2 * _ROUNDING)
    if not is_regular or np.abs(depths - ideal).max() > drift:
        raise refuse("the distances between the slices differ")


def _contradictions(frame: Frame, step: float) -> tuple[str, ...]:
    stated = frame.header.spacing_between_slices
    warnings = []
    if stated is not None and not math.isclose(abs(stated), step, rel_tol=0.02, abs_tol=_ROUNDING):
        warnings.append("SpacingBetweenSlices contradicts the positions of the slices, which count")
    if frame.header.is_quadruped:
        warnings.append("the patient is an animal on four legs: axes are named after its body")
    return tuple(warnings)
