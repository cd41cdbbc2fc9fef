"""A SEG object around pixels that are encoded already (PS3.3 A.51)."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless, SegmentationStorage

from pipeline.dicom.writing import elements, multiframe
from pipeline.dicom.writing.multiframe import Frame, Identity
from pipeline.dicom.writing.provenance import Provenance
from pipeline.dicom.writing.seg_segments import background, descriptions, in_order
from pipeline.dicom.writing.slices import SourceSlices, source_slices
from pipeline.dicom.writing.source_images import source_template
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason
from pipeline.results import Segment
from pipeline.volume import Input, SourceHeader

_LABEL_MAP_STORAGE: Final = UID("1.2.840.10008.5.1.4.1.1.66.7")
_SERIES_NUMBERS: Final = {"BINARY": 9001, "LABELMAP": 9002, "FRACTIONAL": 9003}


class SegmentationType(enum.StrEnum):
    """What a pixel says (PS3.3 C.8.20.2.3)."""

    BINARY = "BINARY"
    LABELMAP = "LABELMAP"
    FRACTIONAL = "FRACTIONAL"


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is written about: a source with its header read, and the segments in order."""

    header: SourceHeader
    template: Dataset
    slices: SourceSlices
    segments: tuple[Segment, ...]


def target_of(source: Input, segments: Sequence[Segment]) -> Target:
    """Read what writers need of ``source``.

    Raises:
        ValueError: no header, or segments that cannot be numbered.

    """
    if source.header is None:
        raise ValueError("a segmentation needs the header of its source")
    template = source_template(source.header)
    return Target(
        header=source.header,
        template=template,
        slices=source_slices(source, source.header, template),
        segments=tuple(in_order(segments)),
    )


def encode(
    target: Target,
    kind: SegmentationType,
    frames: Sequence[Frame],
    pixels: NDArray[np.uint8] | bytes,
    provenance: Provenance,
) -> bytes:
    """Return the file. ``pixels`` is a native value, or for LABELMAP the encoded element.

    Raises:
        StudyRejected: more pixels than one element can hold.

    """
    dataset = multiframe.start(
        target.slices, target.template, _identity(kind, provenance), provenance
    )
    multiframe.add_references(dataset, target.header)
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    bits = 1 if kind is SegmentationType.BINARY else 8
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = 0
    dataset.SegmentationType = kind.value
    dataset.SegmentSequence = descriptions(target.segments, provenance)
    if kind is SegmentationType.LABELMAP:
        dataset.SegmentSequence.insert(0, background(provenance))
        dataset.PixelPaddingValue = 0
    if kind is SegmentationType.FRACTIONAL:
        dataset.SegmentationFractionalType = "PROBABILITY"
        dataset.MaximumFractionalValue = 255
    dataset.SegmentsOverlap = "UNDEFINED" if kind is SegmentationType.FRACTIONAL else "NO"
    organization = provenance.uid(_what(kind, "dimension organization"))
    per_frame = multiframe.add_frames(
        dataset, target.slices, frames, codes.DCM.Segmentation, organization
    )
    if isinstance(pixels, bytes):
        return multiframe.to_file(dataset, RLELossless, per_frame, [pixels])
    if pixels.size > elements.LONGEST:
        sentence = "the segmentation is larger than one DICOM object can be"
        raise StudyRejected(sentence, Reason.PIXELS_TOO_LARGE)
    head = elements.head(0x7FE00010, "OB", pixels.size)
    return multiframe.to_file(dataset, ExplicitVRLittleEndian, per_frame, [head, pixels.data])


def _identity(kind: SegmentationType, provenance: Provenance) -> Identity:
    prefix = "DEMO " if provenance.is_demonstration else ""
    is_map = kind is SegmentationType.LABELMAP
    return Identity(
        sop_class_uid=_LABEL_MAP_STORAGE if is_map else SegmentationStorage,
        modality="SEG",
        sop_instance_uid=provenance.uid(_what(kind, "instance")),
        series_instance_uid=provenance.uid(_what(kind, "series")),
        series_number=_SERIES_NUMBERS[kind],
        series_description=f"{prefix}{provenance.model_name} {provenance.model_version}",
        content_label="SEGMENTATION",
        content_description=(
            "DEMONSTRATION model, not for clinical use"
            if provenance.is_demonstration
            else "Automatic segmentation, not for clinical use"
        ),
    )


def _what(kind: SegmentationType, what: str) -> str:
    """Name a thing for ``Provenance.uid``: one step may be written in several encodings."""
    return what if kind is SegmentationType.BINARY else f"{kind} {what}"
