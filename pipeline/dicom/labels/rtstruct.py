"""RT Structure Set (PS3.3 A.19.3) onto the grid of a volume: closed planar contours to masks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from pipeline.dicom.headers.elements import integer_of, text_of
from pipeline.dicom.labels import polygons
from pipeline.dicom.labels.elements import codes_of, items_of, references_of
from pipeline.dicom.labels.grid import TOLERANCE, Grid
from pipeline.dicom.labels.label_read import LabelRead
from pipeline.dicom.labels.options import Options
from pipeline.dicom.labels.patches import Patches, Room
from pipeline.dicom.labels.refusal import invalid, mismatch
from pipeline.results import Code

Vector: TypeAlias = NDArray[np.float64]

#: the second says in words what the first means too: what contours enclose twice is a hole
_CLOSED: Final = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_CONTOUR_DATA: Final = Tag("ContourData")
_LARGEST: Final = 1e6
#: so many contours of one slice are looked at in pairs
_MOST_COMPARED: Final = 16


@dataclass(frozen=True, kw_only=True)
class _Roi:
    number: int
    name: str
    codes: tuple[Code, ...]
    frame_of_reference_uid: str


@dataclass(kw_only=True)
class _Budget:
    """What all contours together may still be."""

    contours: int
    points: int

    def take(self, points: int) -> None:
        self.contours -= 1
        self.points -= points
        if self.contours < 0 or self.points < 0:
            raise invalid("it holds more contours or points than are allowed")


@dataclass(kw_only=True)
class _Warned:
    """What was met on the way, said once each."""

    sentences: list[str] = field(default_factory=list)

    def add(self, sentence: str) -> None:
        if sentence not in self.sentences:
            self.sentences.append(sentence)


def read_rtstruct(dataset: Dataset, grid: Grid, options: Options, room: Room) -> LabelRead:
    """Read the regions of interest of one structure set.

    A voxel belongs to a region where its centre lies inside of an odd number of its contours on
    that slice, so holes may be contours of their own or keyholes; on the boundary see
    ``polygons``. Nothing is filled in between slices that have contours.

    Args:
        dataset: the object. Its bytes may be hostile: called in a child.
        grid: that of the volume.
        options: what is wanted.
        room: what all regions of this read may take.

    Raises:
        StudyRejected: label.invalid where the object contradicts itself, label.mismatch where
            contours do not lie on slices of the volume or belong to another image.

    """
    drawn = {
        integer_of(item, "ReferencedROINumber"): item
        for item in items_of(dataset, "ROIContourSequence")
    }
    rois = _rois(dataset)
    if not rois:
        raise invalid("it describes no region of interest")
    warned, sources = _Warned(), _sources(dataset)
    budget = _Budget(contours=options.limits.contours, points=options.limits.points)
    regions = []
    for roi in rois:
        if not options.is_wanted(roi.name, roi.codes):
            continue
        for sentence in grid.check_reference(roi.frame_of_reference_uid, sources):
            warned.add(sentence)
        patches = Patches(name=roi.name, codes=roi.codes, number=roi.number)
        item = drawn.get(roi.number)
        if item is not None:
            _draw(items_of(item, "ContourSequence"), patches, grid, budget, warned)
        regions.append(patches.region(grid, room))
    return LabelRead(shape=grid.shape, regions=tuple(regions), warnings=tuple(warned.sentences))


def _rois(dataset: Dataset) -> list[_Roi]:
    observed: dict[int | None, tuple[Code, ...]] = {}
    for item in items_of(dataset, "RTROIObservationsSequence"):
        codes = codes_of(item, "RTROIIdentificationCodeSequence", "AnatomicRegionSequence")
        observed.setdefault(integer_of(item, "ReferencedROINumber"), codes)
    rois: list[_Roi] = []
    for item in items_of(dataset, "StructureSetROISequence"):
        number = integer_of(item, "ROINumber")
        if number is None or any(number == roi.number for roi in rois):
            raise invalid("its regions are not numbered, each by a number of its own")
        rois.append(
            _Roi(
                number=number,
                name=text_of(item, "ROIName"),
                codes=observed.get(number, ()),
                frame_of_reference_uid=text_of(item, "ReferencedFrameOfReferenceUID"),
            )
        )
    return rois


def _sources(dataset: Dataset) -> set[str]:
    """Return the images that the structure set, or any of its contours, says it was drawn on."""
    found: set[str] = set()
    for item in _drawn_on(dataset):
        found.update(uid for uid, _ in references_of(item))
    return found


def _drawn_on(dataset: Dataset) -> list[Dataset]:
    """Return every ContourImageSequence item: of the whole set and of single contours."""
    found: list[Dataset] = []
    for frame in items_of(dataset, "ReferencedFrameOfReferenceSequence"):
        for study in items_of(frame, "RTReferencedStudySequence"):
            for series in items_of(study, "RTReferencedSeriesSequence"):
                found.extend(items_of(series, "ContourImageSequence"))
    for roi in items_of(dataset, "ROIContourSequence"):
        for contour in items_of(roi, "ContourSequence"):
            found.extend(items_of(contour, "ContourImageSequence"))
    return found


def _draw(
    contours: Sequence[Dataset], patches: Patches, grid: Grid, budget: _Budget, warned: _Warned
) -> None:
    """Rasterise all contours of one region, slice by slice."""
    by_slice: dict[int, list[Vector]] = defaultdict(list)
    for contour in contours:
        kind = text_of(contour, "ContourGeometricType").upper()
        points = _points(contour, budget)
        if kind not in _CLOSED or len(points) < 3:
            warned.add("points and open contours enclose nothing; they are left out")
            continue
        place, polygon = _flat(points, grid)
        references = [
            r for i in items_of(contour, "ContourImageSequence") for r in references_of(i)
        ]
        grid.check_slice(references, place)
        by_slice[place].append(polygon)
    for place, flat in by_slice.items():
        _check_edges(flat, grid, warned)
        (row, column), mask = polygons.fill_window(flat, grid.shape[1:])
        patches.add((place, row, column), mask[None])
    if by_slice and max(by_slice) - min(by_slice) + 1 > len(by_slice):
        warned.add("between slices with contours there are slices without; they stay empty")


def _points(contour: Dataset, budget: _Budget) -> Vector:
    """Return the points of a contour, (n, 3) LPS mm.

    Raises:
        StudyRejected: numbers that are none, or not three for each point.

    """
    element = contour.get_item(_CONTOUR_DATA)
    value: Any = None if element is None else element.value
    if isinstance(element, RawDataElement) and isinstance(value, bytes):
        # pydicom would make an object of every decimal; a structure set holds millions
        value = value.strip(b" \0").split(b"\\") if value.strip(b" \0") else []
    try:
        numbers = np.array(value if value is not None else [], np.float64).ravel()
    except (TypeError, ValueError):
        raise invalid("the points of a contour are no numbers") from None
    budget.take(len(numbers) // 3)
    if not np.isfinite(numbers).all() or np.abs(numbers).max(initial=0) > _LARGEST:
        raise invalid("the points of a contour are no places in a patient")
    stated = integer_of(contour, "NumberOfContourPoints")
    if len(numbers) % 3 or (stated is not None and stated != len(numbers) // 3):
        raise invalid("a contour has not three numbers for each of its points")
    return numbers.reshape(-1, 3)


def _flat(points: Vector, grid: Grid) -> tuple[int, Vector]:
    """Return the slice a contour lies on, and its points as (row, column)."""
    index = grid.index(points)
    place = round(float(np.median(index[:, 0])))
    if np.abs(index[:, 0] - place).max() > TOLERANCE:
        across = np.ptp(index[:, 0]) > TOLERANCE
        what = "lies across the slices of the image" if across else "lies between two slices"
        raise mismatch(f"a contour {what}")
    if not 0 <= place < grid.shape[0]:
        raise mismatch("a contour lies above or below the image")
    return place, index[:, 1:]


def _check_edges(flat: Sequence[Vector], grid: Grid, warned: _Warned) -> None:
    points = np.concatenate(flat)
    if (points < -1).any() or (points > np.array(grid.shape[1:])).any():
        warned.add("a contour reaches beyond the image; what lies outside is cut off")
    if 1 < len(flat) <= _MOST_COMPARED and polygons.do_overlap_in_part(flat, grid.shape[1:]):
        warned.add("contours of one region overlap in part; what both enclose counts as a hole")
