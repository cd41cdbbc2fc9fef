"""A SEG object around pixels that are encoded already (PS3.3 A.51)."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final

from pydicom.sr.coding import Code as DicomCode
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless, SegmentationStorage

from pipeline.dicom.writing import multiframe
from pipeline.dicom.writing.multiframe import Frame, Identity, Target
from pipeline.dicom.writing.provenance import Provenance
from pipeline.dicom.writing.seg_segments import background, descriptions
from pipeline.results import Segment

_LABEL_MAP_STORAGE: Final = UID("1.2.840.10008.5.1.4.1.1.66.7")
_HOW: Final = DicomCode("113076", "DCM", "Segmentation")
_SERIES_NUMBERS: Final = {"BINARY": 9001, "LABELMAP": 9002, "FRACTIONAL": 9003}


class SegmentationType(enum.StrEnum):
    """What a pixel says (PS3.3 C.8.20.2.3)."""

    BINARY = "BINARY"
    LABELMAP = "LABELMAP"
    FRACTIONAL = "FRACTIONAL"


def encode(
    target: Target,
    ordered: Sequence[Segment],
    kind: SegmentationType,
    frames: Sequence[Frame],
    pixels: Sequence[bytes | memoryview],
    provenance: Provenance,
) -> bytes:
    """Return the file. ``pixels`` is the Pixel Data element in parts, RLE Lossless for LABELMAP."""
    dataset = multiframe.start(target, _identity(kind, provenance), provenance)
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    bits = 1 if kind is SegmentationType.BINARY else 8
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = 0
    dataset.SegmentationType = kind.value
    described = descriptions(ordered, provenance)
    if kind is SegmentationType.LABELMAP:
        described.insert(0, background(provenance))
        dataset.PixelPaddingValue = 0
    dataset.SegmentSequence = described
    if kind is SegmentationType.FRACTIONAL:
        dataset.SegmentationFractionalType = "PROBABILITY"
        dataset.MaximumFractionalValue = 255
    dataset.SegmentsOverlap = "UNDEFINED" if kind is SegmentationType.FRACTIONAL else "NO"
    organization = provenance.uid(_what(kind, "dimension organization"))
    per_frame = multiframe.add_frames(dataset, target.slices, frames, _HOW, organization)
    is_map = kind is SegmentationType.LABELMAP
    syntax = RLELossless if is_map else ExplicitVRLittleEndian
    return multiframe.to_file(dataset, syntax, per_frame, pixels)


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
