"""Multi-frame objects that lie on their source: the modules that SEG and Parametric Map share.

The frames of one object differ in a few bytes only, so what is said of each frame is put together
from encoded parts; pydicom writes the rest. That is ten times as fast as a ``Dataset`` per frame.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pydicom import dcmwrite
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code as DicomCode
from pydicom.uid import UID

from pipeline.dicom.writing import elements, modules
from pipeline.dicom.writing.provenance import Provenance
from pipeline.dicom.writing.slices import (
    SourceSlices,
    derivation,
    plane_position,
    shared_groups,
    source_slices,
)
from pipeline.dicom.writing.source_images import source_template
from pipeline.volume import Input, SourceHeader


@dataclass(frozen=True, kw_only=True)
class Target:
    """What an object is about: a source with its header read."""

    header: SourceHeader
    #: the header of the first instance, cleaned
    template: Dataset
    slices: SourceSlices


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Which object it is."""

    sop_class_uid: UID
    modality: str
    sop_instance_uid: str
    series_instance_uid: str
    series_number: int
    instance_number: int = 1
    series_description: str
    content_label: str
    content_description: str


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One frame: the slice it lies on (index) and, in a SEG, the segment it shows (from 1)."""

    slice: int
    segment: int | None = None


def target_of(source: Input) -> Target:
    """Read what the writers of this package need of ``source``.

    Raises:
        ValueError: no header, or not one instance per slice.

    """
    if source.header is None:
        raise ValueError("a derived object needs the header of its source")
    template = source_template(source.header)
    slices = source_slices(source, source.header, template)
    return Target(header=source.header, template=template, slices=slices)


def start(target: Target, identity: Identity, provenance: Provenance) -> Dataset:
    """Return the modules from patient to references; the image's own are still to be added."""
    template, slices = target.template, target.slices
    dataset = modules.patient_and_study(template)
    created = provenance.created_at
    date, time = created.strftime("%Y%m%d"), created.strftime("%H%M%S")
    dataset.SOPClassUID = identity.sop_class_uid
    dataset.SOPInstanceUID = UID(identity.sop_instance_uid)
    dataset.InstanceCreationDate = dataset.SeriesDate = dataset.ContentDate = date
    dataset.InstanceCreationTime = dataset.SeriesTime = dataset.ContentTime = time
    dataset.Modality = identity.modality
    dataset.SeriesInstanceUID = UID(identity.series_instance_uid)
    dataset.SeriesNumber = identity.series_number
    dataset.SeriesDescription = modules.plain_text(identity.series_description)
    dataset.InstanceNumber = identity.instance_number
    dataset.ContentLabel = identity.content_label
    dataset.ContentDescription = modules.plain_text(identity.content_description)
    dataset.ContentCreatorName = ""
    if slices.place is not None:
        dataset.FrameOfReferenceUID = template.FrameOfReferenceUID
        dataset.PositionReferenceIndicator = template.get("PositionReferenceIndicator", "")
    else:
        dataset.PatientOrientation = template.get("PatientOrientation", "")
    modules.add_equipment(dataset, template, provenance)
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = slices.shape[1:]
    dataset.ReferencedSeriesSequence = list(_references(target.header))
    return dataset


def _references(header: SourceHeader) -> Iterator[Dataset]:
    """Yield each series of the source and all of its instances (PS3.3 C.12.2)."""
    # two inputs may be phases of one series
    by_series: dict[str, dict[str, str]] = {}
    for one in (header, *header.beside):
        classes = by_series.setdefault(one.series_instance_uid, {})
        classes |= {instance.sop_instance_uid: instance.sop_class_uid for instance in one.instances}
    for series_instance_uid, classes in by_series.items():
        series = Dataset()
        series.SeriesInstanceUID = UID(series_instance_uid)
        series.ReferencedInstanceSequence = []
        for sop_instance_uid, sop_class_uid in classes.items():
            instance = Dataset()
            instance.ReferencedSOPClassUID = UID(sop_class_uid)
            instance.ReferencedSOPInstanceUID = UID(sop_instance_uid)
            series.ReferencedInstanceSequence.append(instance)
        yield series


def add_frames(
    dataset: Dataset,
    slices: SourceSlices,
    frames: Sequence[Frame],
    how: DicomCode,
    organization_uid: str,
) -> bytes:
    """Add shared groups and dimensions; return the encoded Per-Frame Functional Groups Sequence.

    Where slices have no place they are told apart by Temporal Position Index: frames of a loop
    follow each other in time (PS3.3 C.7.6.16.2.2).
    """
    place = slices.place
    has_segments = frames[0].segment is not None
    pointers = [("ReferencedSegmentNumber", "SegmentIdentificationSequence")] * has_segments
    if place is not None:
        pointers.append(("ImagePositionPatient", "PlanePositionSequence"))
    else:
        pointers.append(("TemporalPositionIndex", "FrameContentSequence"))
    _add_dimensions(dataset, pointers, organization_uid)
    dataset.NumberOfFrames = len(frames)
    dataset.SharedFunctionalGroupsSequence = [shared_groups(slices)]
    return elements.sequence(0x52009230, *_groups(slices, frames, how))


def _groups(slices: SourceSlices, frames: Sequence[Frame], how: DicomCode) -> Iterator[bytes]:
    """Yield the item of each frame. Index values count what is there, from 1 without a gap."""
    place = slices.place
    ranks = _ranks(frame.slice for frame in frames)
    segments = _ranks(frame.segment for frame in frames if frame.segment is not None)
    derivations = {index: derivation(slices.instances[index], how) for index in ranks}
    positions = {index: plane_position(place.positions[index]) for index in ranks} if place else {}
    identifications = {number: _segment(number) for number in segments}
    for frame in frames:
        rank = ranks[frame.slice]
        values = (rank,) if frame.segment is None else (segments[frame.segment], rank)
        content = elements.unsigned(0x00209157, "UL", *values)
        if place is None:
            content = elements.unsigned(0x00209128, "UL", rank) + content
        yield elements.item(
            derivations[frame.slice],
            elements.sequence(0x00209111, elements.item(content)),
            positions.get(frame.slice, b""),
            b"" if frame.segment is None else identifications[frame.segment],
        )


def _ranks(numbers: Iterable[int]) -> dict[int, int]:
    return {number: rank for rank, number in enumerate(sorted(set(numbers)), start=1)}


def _segment(number: int) -> bytes:
    """Return the Segment Identification Sequence of a frame (PS3.3 C.8.20.3.1)."""
    return elements.sequence(0x0062000A, elements.item(elements.unsigned(0x0062000B, "US", number)))


def _add_dimensions(
    dataset: Dataset, pointers: Iterable[tuple[str, str]], organization_uid: str
) -> None:
    """Add the Multi-frame Dimension Module (PS3.3 C.7.6.17), the slowest dimension first."""
    organization = Dataset()
    organization.DimensionOrganizationUID = UID(organization_uid)
    dataset.DimensionOrganizationSequence = [organization]
    dataset.DimensionIndexSequence = []
    for attribute, group in pointers:
        index = Dataset()
        index.DimensionOrganizationUID = UID(organization_uid)
        index.DimensionIndexPointer = tag_for_keyword(attribute)
        index.FunctionalGroupPointer = tag_for_keyword(group)
        index.DimensionDescriptionLabel = attribute
        dataset.DimensionIndexSequence.append(index)


def to_file(
    dataset: Dataset, transfer_syntax: UID, per_frame: bytes, pixels: Sequence[bytes | memoryview]
) -> bytes:
    """Return a DICOM file: ``dataset``, then what is encoded already.

    Args:
        dataset: everything before the Per-Frame Functional Groups Sequence.
        transfer_syntax: whose data set encoding is Explicit VR Little Endian.
        per_frame: from ``add_frames``.
        pixels: the pixel data element in parts, its head first.

    """
    modules.add_file_meta(dataset, transfer_syntax)
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return b"".join([buffer.getvalue(), per_frame, *pixels])
