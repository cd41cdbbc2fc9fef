"""The images a report rests on, as its Image Library (PS3.16 TID 1600)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as DicomCode

from pipeline.dicom.writing import concepts, sr_items
from pipeline.dicom.writing.source_images import decimal_string
from pipeline.volume import SourceInstance

_PIXELS: Final = sr_items.number_unit(DicomCode("{pixels}", "UCUM", "pixels"))
_COSINE: Final = sr_items.number_unit(DicomCode("{-1:1}", "UCUM", "{-1:1}"))
_MM: Final = sr_items.number_unit(concepts.unit("mm"))
#: acquisition modalities by their abbreviation (PS3.16 CID 29)
_MODALITIES: Final = {code.value: code for code in codes.cid29.concepts.values()}
_SOURCE: Final = sr_items.image_name(concepts.SOURCE)
_POSITION: Final = tuple(
    sr_items.number_name(DicomCode(value, "DCM", f"Image Position (Patient) {axis}"))
    for axis, value in (("X", "110901"), ("Y", "110902"), ("Z", "110903"))
)
_ORIENTATION: Final = tuple(
    DicomCode(str(110904 + number), "DCM", f"Image Orientation (Patient) {direction} {axis}")
    for number, (direction, axis) in enumerate(
        (direction, axis) for direction in ("Row", "Column") for axis in "XYZ"
    )
)


def image_library(*series: tuple[Dataset, Sequence[SourceInstance]]) -> bytes:
    """Return the library of one series or several, encoded: an item of a Content Sequence.

    What all images of a series share (modality, frame of reference, size, spacing, orientation)
    is said once for its group, the position once per image (TID 1600, 1602): highdicom's own
    repeats everything, which takes ten times as much room, and needs attributes that real
    radiographs lack.

    Args:
        series: the header of the first image, cleaned (see ``source_images.source_dataset``), and
            the instances, each once.

    """
    groups = (
        sr_items.container(codes.DCM.ImageLibraryGroup, *_shared(first), *map(_entry, instances))
        for first, instances in series
    )
    return sr_items.container(codes.DCM.ImageLibrary, *groups)


def _shared(first: Dataset) -> Iterator[bytes]:
    modality = _MODALITIES.get(first.Modality)
    if modality is not None:
        yield sr_items.code(codes.DCM.Modality, modality)
    if "FrameOfReferenceUID" in first:
        yield sr_items.uid(codes.DCM.FrameOfReferenceUID, first.FrameOfReferenceUID)
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


def _entry(image: SourceInstance) -> bytes:
    referenced = sr_items.instance(image.sop_class_uid, image.sop_instance_uid)
    if image.position is None:
        return sr_items.image(_SOURCE, referenced)
    # the source states decimal strings: the number of 64 bits beside one says no more than it
    position = [float(decimal_string(value)) for value in image.position]
    place = [
        sr_items.number(name, value, _MM) for name, value in zip(_POSITION, position, strict=True)
    ]
    return sr_items.image(_SOURCE, referenced, *place)


def _number(name: DicomCode, value: float, unit: bytes) -> bytes:
    return sr_items.number(sr_items.number_name(name), value, unit)
