"""From what a header states to the facts that grouping and reading need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.dicom.headers.instance import FramePlace, InstanceHeader, PixelElement
from pipeline.dicom.headers.judging import (
    Shape,
    optional_uid_of,
    sop_class_of,
    uid_of,
)
from pipeline.dicom.headers.stated import Stated
from pipeline.dicom.headers.wanted import GE_CREATOR, GE_SCAN_TYPE, PHASE_KEYWORDS


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is known of a file beside the elements of its header."""

    name: str
    size: int
    transfer_syntax_uid: str
    patient_key: str
    pixels: PixelElement
    places: tuple[FramePlace, ...] | None = None


def header_of(stated: Stated, found: Found, shape: Shape) -> InstanceHeader:
    """Return the facts of one instance.

    Raises:
        FileRefused: its SOP class or one of its UIDs is missing or invalid.

    """
    return InstanceHeader(
        path=found.name,
        size=found.size,
        sop_class_uid=sop_class_of(stated, found.pixels),
        sop_instance_uid=uid_of(stated, "SOPInstanceUID"),
        study_instance_uid=uid_of(stated, "StudyInstanceUID"),
        series_instance_uid=uid_of(stated, "SeriesInstanceUID"),
        frame_of_reference_uid=optional_uid_of(stated, "FrameOfReferenceUID"),
        transfer_syntax_uid=found.transfer_syntax_uid,
        patient_key=found.patient_key,
        pixels=found.pixels,
        places=found.places,
        phases=_phases(stated),
        **_pixel_facts(stated, shape),
        **_geometry(stated),
        **_descriptions(stated),
    )


def _pixel_facts(stated: Stated, shape: Shape) -> dict[str, Any]:
    integer = stated.integer
    bits_stored = integer("BitsStored") or shape.bits_allocated
    high_bit = integer("HighBit")
    is_signed = integer("PixelRepresentation") == 1
    return {
        "rows": shape.rows,
        "columns": shape.columns,
        "frames": shape.frames,
        "samples": shape.samples,
        "photometric": shape.photometric,
        "bits_allocated": shape.bits_allocated,
        "bits_stored": bits_stored,
        "high_bit": bits_stored - 1 if high_bit is None else high_bit,
        "is_signed": is_signed,
        "padding": _stored_value(integer("PixelPaddingValue"), is_signed=is_signed),
        "padding_limit": _stored_value(integer("PixelPaddingRangeLimit"), is_signed=is_signed),
        "planar_configuration": integer("PlanarConfiguration"),
        "has_palette": stated.has("RedPaletteColorLookupTableDescriptor"),
        "slope": stated.number("RescaleSlope"),
        "intercept": stated.number("RescaleIntercept"),
        "rescale_type": stated.text("RescaleType"),
        "has_modality_lut": stated.has("ModalityLUTSequence"),
    }


def _geometry(stated: Stated) -> dict[str, Any]:
    return {
        "orientation": stated.numbers("ImageOrientationPatient", 6),
        "position": stated.numbers("ImagePositionPatient", 3),
        "pixel_spacing": stated.numbers("PixelSpacing", 2),
        "imager_pixel_spacing": stated.numbers("ImagerPixelSpacing", 2),
        "slice_thickness": stated.number("SliceThickness"),
        "spacing_between_slices": stated.number("SpacingBetweenSlices"),
        "is_quadruped": stated.text("AnatomicalOrientationType").upper() == "QUADRUPED",
        "is_ge_localizer": _is_ge_localizer(stated),
    }


def _descriptions(stated: Stated) -> dict[str, Any]:
    text, integer = stated.text, stated.integer
    return {
        "modality": text("Modality").upper()[:16],
        "image_type": tuple(value.upper() for value in stated.texts("ImageType")),
        "series_number": integer("SeriesNumber"),
        "instance_number": integer("InstanceNumber"),
        "is_concatenated": stated.has("ConcatenationUID"),
        "acquisition_time": text("AcquisitionTime"),
        "content_time": text("ContentTime"),
        "image_index": integer("ImageIndex"),
        "number_of_slices": integer("NumberOfSlices"),
        "number_of_time_slices": integer("NumberOfTimeSlices"),
        "number_of_temporal_positions": integer("NumberOfTemporalPositions"),
        "units": text("Units").upper(),
        "series_description": text("SeriesDescription"),
        "body_part": text("BodyPartExamined").upper(),
        "protocol": text("ProtocolName"),
        "kernel": text("ConvolutionKernel"),
        "has_contrast": stated.has("ContrastBolusAgent"),
        "manufacturer": text("Manufacturer"),
        "model_name": text("ManufacturerModelName"),
        "field_strength": stated.number("MagneticFieldStrength"),
    }


def _stored_value(value: int | None, *, is_signed: bool) -> int | None:
    """Return a 16-bit element whose VR follows PixelRepresentation (PS3.3 C.7.5.1.1.2).

    Written with the other VR it holds the same bits, so it means the same stored value.
    """
    if value is None or not -(2**15) <= value < 2**16:
        return value
    bits = value % 2**16
    return bits - 2**16 if is_signed and bits >= 2**15 else bits


def _is_ge_localizer(stated: Stated) -> bool:
    is_ge = stated.text(GE_CREATOR) == "GEMS_ACQU_01"
    return is_ge and stated.integer(GE_SCAN_TYPE) == 256


def _phases(stated: Stated) -> tuple[tuple[str, str], ...]:
    phases = ((keyword, stated.text(keyword)) for keyword in PHASE_KEYWORDS)
    return tuple((keyword, value) for keyword, value in phases if value)
