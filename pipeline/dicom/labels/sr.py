"""Structured reports by TID 1500 (PS3.16) onto the grid of a volume: regions, boxes, judgements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from pydicom.dataset import Dataset

from pipeline.dicom.headers.elements import integer_of, text_of, value_of
from pipeline.dicom.labels import content
from pipeline.dicom.labels.elements import items_of, references_of
from pipeline.dicom.labels.grid import Grid
from pipeline.dicom.labels.label_read import Evaluation, LabelBox, LabelRead, Region
from pipeline.dicom.labels.options import Options
from pipeline.dicom.labels.patches import Patches, Room
from pipeline.dicom.labels.refusal import invalid, mismatch
from pipeline.dicom.labels.tracing import Outline
from pipeline.dicom.writing import concepts
from pipeline.results import Code

_CENTRE: Final = tuple((code.scheme_designator, code.value) for code in concepts.CENTRE)
_SIZE: Final = tuple(
    (code.scheme_designator, code.value)
    for code in (concepts.DEPTH, concepts.HEIGHT, concepts.WIDTH)
)
#: voxels by which an outline may leave the box that numbers state
_LOOSE: Final = 1.0


@dataclass(kw_only=True)
class _Group:
    """One measurement group while it is read."""

    name: str
    codes: tuple[Code, ...]
    outline: Outline
    #: regions of segmentations that it refers to
    segments: list[Region] = field(default_factory=list)
    #: in mm, by concept
    lengths: dict[content.Key, float] = field(default_factory=dict)


def read_sr(
    dataset: Dataset,
    grid: Grid,
    options: Options,
    room: Room,
    segmentations: Mapping[str, LabelRead],
) -> LabelRead:
    """Read the measurement groups and evaluations of one report.

    A region is what its closed outlines enclose, slice by slice, or the segment it refers to;
    every region also gives the box around it. Of our own reports the box is the one stated.

    Args:
        dataset: the object. Its bytes may be hostile: called in a child.
        grid: that of the volume.
        options: what is wanted.
        room: what all regions of this read may take.
        segmentations: by SOPInstanceUID, those that were given with the report.

    Raises:
        StudyRejected: label.invalid where the report contradicts itself, label.mismatch where
            it is about other images or refers to a segmentation that was not given.

    """
    sources = _evidence(dataset)
    report = _Report(dataset, grid, options, segmentations, sources)
    if grid.slices and sources and sources.isdisjoint({uid for uid, _ in grid.slices}):
        raise mismatch("the report is about other images")
    regions, boxes = [], []
    for item in content.containers(dataset, options.limits):
        report.evaluate(item)
        group = report.group(item)
        if group is None:
            continue
        region = _region(group, grid, room)
        box = _box(group, region, grid)
        regions.append(region)
        boxes.extend([] if box is None else [box])
    return LabelRead(
        shape=grid.shape,
        regions=tuple(regions),
        boxes=tuple(boxes),
        evaluations=tuple(report.evaluations),
        warnings=tuple(dict.fromkeys(report.warnings)),
    )


class _Report:
    """The groups of one report, one after the other."""

    def __init__(
        self,
        dataset: Dataset,
        grid: Grid,
        options: Options,
        segmentations: Mapping[str, LabelRead],
        sources: set[str],
    ) -> None:
        self._default_frame = text_of(dataset, "FrameOfReferenceUID")
        self._grid = grid
        self._options = options
        self._segmentations = segmentations
        self._sources = sources
        self.evaluations: list[Evaluation] = []
        self.warnings: list[str] = []

    def evaluate(self, item: Dataset) -> None:
        """Keep what the codes of a container judge."""
        children = content.children_of(item, self._options.limits)
        name = (
            _named(children)[0] if content.concept_of(item) == content.MEASUREMENT_GROUP else None
        )
        for child in children:
            concept, value = content.name_of(child), content.code_value(child)
            if content.kind_of(child) != "CODE" or concept is None or value is None:
                continue
            if (concept.scheme, concept.value) in content.CIRCUMSTANCES:
                continue
            self.evaluations.append(
                Evaluation(
                    concept=concept.meaning,
                    concept_code=concept,
                    value=value.meaning,
                    value_code=value,
                    group=name,
                )
            )

    def group(self, item: Dataset) -> _Group | None:
        """Read one measurement group; None where it states no region, or one not wanted."""
        children = content.children_of(item, self._options.limits)
        name, codes = _named(children)
        if not self._options.is_wanted(name, codes):
            return None
        group = _Group(name=name, codes=codes, outline=Outline(grid=self._grid))
        for child in children:
            match content.kind_of(child):
                case "SCOORD":
                    self._on_image(child, group)
                case "SCOORD3D":
                    self._in_patient(child, group)
                case "IMAGE":
                    self._refer(child, group)
                case "NUM":
                    _measure(child, group)
        self.warnings.extend(group.outline.warnings)
        return None if group.outline.is_empty and not group.segments else group

    def _on_image(self, item: Dataset, group: _Group) -> None:
        selected = [
            reference
            for child in content.children_of(item, self._options.limits)
            for inner in items_of(child, "ReferencedSOPSequence")
            for reference in references_of(inner)
        ]
        if not selected:
            raise invalid("a region does not say on which image it is drawn")
        for reference in selected:
            group.outline.add_pixels(_shape(item), _graphic(item), reference)

    def _in_patient(self, item: Dataset, group: _Group) -> None:
        frame = text_of(item, "ReferencedFrameOfReferenceUID") or self._default_frame
        self.warnings.extend(self._grid.check_reference(frame, self._sources))
        group.outline.add_places(_shape(item), _graphic(item))

    def _refer(self, item: Dataset, group: _Group) -> None:
        """Take the segments that a group refers to (TID 1410, TID 1411)."""
        for inner in items_of(item, "ReferencedSOPSequence"):
            number = integer_of(inner, "ReferencedSegmentNumber")
            if number is None:
                continue
            if value_of(inner, "ReferencedFrameNumber") is not None:
                raise mismatch("a group refers to single frames of a segmentation")
            given = self._segmentations.get(text_of(inner, "ReferencedSOPInstanceUID"))
            if given is None:
                raise mismatch("the report refers to a segmentation that was not given with it")
            found = [region for region in given.regions if region.number == number]
            if not found:
                raise invalid("the report refers to a segment that its segmentation lacks")
            group.segments.extend(found)


def _evidence(dataset: Dataset) -> set[str]:
    found: set[str] = set()
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        for study in items_of(dataset, keyword):
            for series in items_of(study, "ReferencedSeriesSequence"):
                for item in items_of(series, "ReferencedSOPSequence"):
                    found.update(uid for uid, _ in references_of(item))
    return found


def _named(children: Sequence[Dataset]) -> tuple[str, tuple[Code, ...]]:
    """Return what a group is of: its finding, else its tracking identifier; and their codes."""
    findings, sites, tracked = [], [], ""
    for child in children:
        concept, value = content.concept_of(child), content.code_value(child)
        if concept == content.FINDING and value is not None:
            findings.append(value)
        elif concept in content.SITES and value is not None:
            sites.append(value)
        elif concept == content.TRACKING:
            tracked = text_of(child, "TextValue")
    return (findings[0].meaning if findings else tracked), (*findings, *sites)


def _shape(item: Dataset) -> str:
    return text_of(item, "GraphicType").upper()


def _graphic(item: Dataset) -> Any:
    try:
        return np.array(value_of(item, "GraphicData"), np.float64).ravel()
    except (TypeError, ValueError):
        raise invalid("the points of a region are no numbers") from None


def _measure(item: Dataset, group: _Group) -> None:
    concept, measured = content.concept_of(item), content.number_value(item)
    if concept is not None and measured is not None and measured[1] == "mm":
        group.lengths[concept] = measured[0]


def _region(group: _Group, grid: Grid, room: Room) -> Region:
    patches = Patches(name=group.name, codes=group.codes)
    group.outline.trace(patches)
    for segment in group.segments:
        if segment.voxels.size:
            patches.add(segment.start, segment.voxels)
    return patches.region(grid, room)


def _box(group: _Group, region: Region, grid: Grid) -> LabelBox | None:
    """Return the box that is stated, else the one around the outline, else around the segment."""
    if not group.outline.is_empty:
        low, high = group.outline.extent()
    elif region.voxels.size:
        low = np.array(region.start, np.float64) - 0.5
        high = low + region.voxels.shape
    else:
        return None
    stated = [group.lengths.get(key, np.nan) for key in (*_CENTRE, *_SIZE)]
    if grid.has_place and np.isfinite(stated).all() and not group.segments:
        half = np.array(stated[3:]) / 2 / grid.spacing
        middle = grid.index(np.array(stated[:3]))
        if (low < middle - half - _LOOSE).any() or (high > middle + half + _LOOSE).any():
            raise invalid("the outline of a region leaves the box that its numbers state")
        low, high = middle - half, middle + half
    if (high <= low).any():
        return None
    s0, r0, c0, s1, r1, c1 = (np.concatenate([low, high]) + 0.5).tolist()
    slices, rows, columns = ((high - low) * grid.spacing).tolist()
    return LabelBox(
        name=group.name,
        codes=group.codes,
        index_box=(s0, r0, c0, s1, r1, c1),
        centre=grid.patient(((low + high) / 2).tolist()) if grid.has_place else None,
        size=(slices, rows, columns) if grid.has_place else None,
    )
