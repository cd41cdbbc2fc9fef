"""Where the frames of a segmentation lie, by their functional groups (PS3.3 C.7.6.16)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipeline.dicom.headers.elements import integer_of, number_of
from pipeline.dicom.labels.elements import (
    item_of,
    items_of,
    positive_of,
    references_of,
    vector_of,
)
from pipeline.dicom.labels.grid import Reference
from pipeline.dicom.labels.limits import LabelLimits
from pipeline.dicom.labels.refusal import invalid

Vector: TypeAlias = NDArray[np.float64]

_UNIT_TOLERANCE: Final = 1e-3
_SMALLEST, _LARGEST = 1e-3, 1e3


@dataclass(frozen=True, kw_only=True)
class Plane:
    """A flat grid of pixels in the patient, LPS mm."""

    #: centre of the first pixel
    origin: Vector
    #: from one row to the next, and from one column to the next
    row_step: Vector
    column_step: Vector


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One frame: which segment it shows, where it lies, and which images it was drawn on."""

    #: from 0
    number: int
    #: None in a label map, whose frames show all segments
    segment: int | None
    rows: int
    columns: int
    plane: Plane | None
    #: mm between neighbouring slices, as stated
    spacing_between: float | None
    thickness: float | None
    references: tuple[Reference, ...]


def frames_of(dataset: Dataset, kind: str, limits: LabelLimits) -> list[Frame]:
    """Return the frames in the order in which they are stored.

    Raises:
        StudyRejected: a frame without its functional groups, or values that cannot be.

    """
    count = positive_of(dataset, "NumberOfFrames", limits.frames)
    rows, columns = (positive_of(dataset, name, 65535) for name in ("Rows", "Columns"))
    shared = item_of(dataset, "SharedFunctionalGroupsSequence") or Dataset()
    groups = items_of(dataset, "PerFrameFunctionalGroupsSequence")
    if len(groups) != count:
        raise invalid("it has not one functional group for each frame")
    frames = []
    for number, group in enumerate(groups):
        measures = _macro("PixelMeasuresSequence", group, shared) or Dataset()
        frames.append(
            Frame(
                number=number,
                segment=None if kind == "LABELMAP" else _segment(group, shared),
                rows=rows,
                columns=columns,
                plane=_plane(group, shared, measures),
                spacing_between=_positive(number_of(measures, "SpacingBetweenSlices")),
                thickness=_positive(number_of(measures, "SliceThickness")),
                references=_sources_of_frame(group, shared),
            )
        )
    return frames


def sources_of(dataset: Dataset) -> set[str]:
    """Return the SOPInstanceUIDs of all images that a segmentation says it was drawn on."""
    found: set[str] = set()
    for series in items_of(dataset, "ReferencedSeriesSequence"):
        for item in items_of(series, "ReferencedInstanceSequence"):
            found.update(uid for uid, _ in references_of(item))
    for item in items_of(dataset, "SourceImageSequence"):
        found.update(uid for uid, _ in references_of(item))
    groups = items_of(dataset, "SharedFunctionalGroupsSequence")
    for group in [*groups, *items_of(dataset, "PerFrameFunctionalGroupsSequence")]:
        found.update(uid for uid, _ in _sources_of_frame(group, Dataset()))
    return found


def _macro(keyword: str, group: Dataset, shared: Dataset) -> Dataset | None:
    own = item_of(group, keyword)
    return item_of(shared, keyword) if own is None else own


def _segment(group: Dataset, shared: Dataset) -> int:
    item = _macro("SegmentIdentificationSequence", group, shared)
    number = None if item is None else integer_of(item, "ReferencedSegmentNumber")
    if number is None:
        raise invalid("a frame does not say which segment it shows")
    return number


def _plane(group: Dataset, shared: Dataset, measures: Dataset) -> Plane | None:
    """Return the place of a frame; None where it states no position at all."""
    position = _macro("PlanePositionSequence", group, shared)
    origin = None if position is None else vector_of(position, "ImagePositionPatient", 3)
    if origin is None:
        return None
    item = _macro("PlaneOrientationSequence", group, shared)
    cosines = None if item is None else vector_of(item, "ImageOrientationPatient", 6)
    spacing = vector_of(measures, "PixelSpacing", 2)
    if cosines is None or spacing is None:
        raise invalid("a frame states its position, but not its orientation and pixel spacing")
    row, column = cosines[:3], cosines[3:]
    is_unit = all(abs(np.linalg.norm(axis) - 1) <= _UNIT_TOLERANCE for axis in (row, column))
    if not is_unit or abs(row @ column) > _UNIT_TOLERANCE:
        raise invalid("the orientation of a frame is no pair of unit vectors at right angles")
    if not ((spacing >= _SMALLEST) & (spacing <= _LARGEST)).all():
        raise invalid("the pixel spacing of a frame is no pair of positive numbers")
    # PixelSpacing is (between rows, between columns); along the column cosine the row changes.
    return Plane(origin=origin, row_step=column * spacing[0], column_step=row * spacing[1])


def _sources_of_frame(group: Dataset, shared: Dataset) -> tuple[Reference, ...]:
    found: list[Reference] = []
    derivations = items_of(group, "DerivationImageSequence")
    for derivation in derivations or items_of(shared, "DerivationImageSequence"):
        for item in items_of(derivation, "SourceImageSequence"):
            found.extend(references_of(item))
    return tuple(found)


def _positive(number: float | None) -> float | None:
    return number if number is not None and _SMALLEST <= number <= _LARGEST else None
