"""The images a report rests on, as its Image Library (PS3.16 TID 1600)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    ContentSequence,
    ImageContentItem,
    NumContentItem,
    UIDRefContentItem,
)
from highdicom.sr.enum import RelationshipTypeValues
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as DicomCode

from pipeline.dicom.writing import concepts

_CONTEXT: Final = RelationshipTypeValues.HAS_ACQ_CONTEXT
_CONTAINS: Final = RelationshipTypeValues.CONTAINS
_PIXELS: Final = DicomCode("{pixels}", "UCUM", "pixels")
_COSINE: Final = DicomCode("{-1:1}", "UCUM", "{-1:1}")
#: acquisition modalities by their abbreviation (PS3.16 CID 29)
_MODALITIES: Final = {code.value: code for code in codes.cid29.concepts.values()}
_MM: Final = concepts.unit("mm")
_POSITION: Final = tuple(
    DicomCode(value, "DCM", f"Image Position (Patient) {axis}")
    for axis, value in (("X", "110901"), ("Y", "110902"), ("Z", "110903"))
)
_ORIENTATION: Final = tuple(
    DicomCode(str(110904 + number), "DCM", f"Image Orientation (Patient) {direction} {axis}")
    for number, (direction, axis) in enumerate(
        (direction, axis) for direction in ("Row", "Column") for axis in "XYZ"
    )
)


def image_library(images: Sequence[Dataset]) -> ContainerContentItem:
    """Return the library of one series.

    What all images share (modality, frame of reference, size, spacing, orientation) is said once
    for the group, the position once per image (TID 1600, 1602): highdicom's own repeats
    everything, which takes ten times as long and as much room, and needs attributes that real
    radiographs lack.

    Args:
        images: one data set per instance of one series, each instance once; see
            ``source_images.source_datasets``.

    """
    group = ContainerContentItem(name=codes.DCM.ImageLibraryGroup, relationship_type=_CONTAINS)
    group.ContentSequence = ContentSequence([*_shared(images[0]), *map(_entry, images)])
    library = ContainerContentItem(name=codes.DCM.ImageLibrary, relationship_type=_CONTAINS)
    library.ContentSequence = ContentSequence([group])
    return library


def _shared(first: Dataset) -> Iterator[CodeContentItem | UIDRefContentItem | NumContentItem]:
    modality = _MODALITIES.get(first.Modality)
    if modality is not None:
        yield CodeContentItem(name=codes.DCM.Modality, value=modality, relationship_type=_CONTEXT)
    if "FrameOfReferenceUID" in first:
        yield UIDRefContentItem(
            name=codes.DCM.FrameOfReferenceUID,
            value=first.FrameOfReferenceUID,
            relationship_type=_CONTEXT,
        )
    for name, keyword in (
        (codes.DCM.PixelDataRows, "Rows"),
        (codes.DCM.PixelDataColumns, "Columns"),
    ):
        if keyword in first:
            yield _number(name, int(first[keyword].value), _PIXELS)
    spacing = first.get("PixelSpacing") or first.get("ImagerPixelSpacing")
    if spacing:
        yield _number(codes.DCM.HorizontalPixelSpacing, float(spacing[1]), _MM)
        yield _number(codes.DCM.VerticalPixelSpacing, float(spacing[0]), _MM)
    for name, value in zip(_ORIENTATION, first.get("ImageOrientationPatient") or (), strict=False):
        yield _number(name, float(value), _COSINE)


def _entry(image: Dataset) -> ImageContentItem:
    item = ImageContentItem(
        name=concepts.SOURCE,
        referenced_sop_class_uid=image.SOPClassUID,
        referenced_sop_instance_uid=image.SOPInstanceUID,
        relationship_type=_CONTAINS,
    )
    position = image.get("ImagePositionPatient") or ()
    if position:
        item.ContentSequence = ContentSequence(
            [
                _number(name, float(value), _MM)
                for name, value in zip(_POSITION, position, strict=True)
            ]
        )
    return item


def _number(name: DicomCode, value: float, unit: DicomCode) -> NumContentItem:
    return NumContentItem(name=name, value=value, unit=unit, relationship_type=_CONTEXT)
