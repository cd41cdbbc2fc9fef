"""Read the header of one file: a verdict on it, or the facts that grouping and reading need."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pipeline.dicom import sop_classes
from pipeline.dicom.headers import functional_groups
from pipeline.dicom.headers.elements import (
    integer_of,
    number_of,
    numbers_of,
    text_of,
    texts_of,
    value_of,
)
from pipeline.dicom.headers.instance import InstanceHeader, PixelElement
from pipeline.dicom.headers.pixel_element import check_length
from pipeline.dicom.headers.structure import Parsed, parse
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.refusal import FileRefused
from pipeline.dicom.sources.folder import unreadable
from pipeline.dicom.sources.source import OpenFile
from pipeline.dicom.sources.stream import stream_of
from pipeline.reasons import Reason

_UID = re.compile(r"[0-9.]{1,64}")

#: What tells phases of one scan apart where several images share a position, in this order.
PHASE_KEYWORDS: Final = (
    "EchoNumbers",
    "DiffusionBValue",
    "EchoTime",
    "InversionTime",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "FrameReferenceTime",
    "TriggerTime",
    "NominalPercentageOfCardiacPhase",
    "DiffusionGradientOrientation",
    "AcquisitionNumber",
)

_KEYWORDS: Final = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"),
    *("FrameOfReferenceUID", "Modality", "ImageType", "SeriesDescription", "BodyPartExamined"),
    *("ProtocolName", "Manufacturer", "ManufacturerModelName", "MagneticFieldStrength"),
    *("ConvolutionKernel", "ContrastBolusAgent", "SliceThickness", "GantryDetectorTilt"),
    *("PatientID", "IssuerOfPatientID", "SeriesNumber", "InstanceNumber", "AcquisitionDate"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence"),
    *("PixelPaddingRangeLimit", "PlanarConfiguration", "Units", "ImageIndex"),
    *("AcquisitionTime", "ContentTime", "NumberOfSlices", "NumberOfTimeSlices"),
    *("NumberOfTemporalPositions", "RedPaletteColorLookupTableDescriptor"),
    *("DirectoryRecordSequence", "ConcatenationUID", "AnatomicalOrientationType"),
    *("SpacingBetweenSlices", *PHASE_KEYWORDS, *functional_groups.KEYWORDS),
)


def read_header(
    file: OpenFile, *, name: str, limits: HeaderLimits, salt: bytes = b""
) -> InstanceHeader:
    """Read the header of one file without reading its pixels.

    Args:
        file: the open file.
        name: its name in the source, kept in the header.
        limits: what the header may state.
        salt: key of ``patient_key``, the same for all files that are compared.

    Raises:
        FileRefused: with the reason code and a sentence, for whatever is wrong with the file.

    """
    if file.size == 0:
        raise FileRefused("the file is empty", Reason.FILE_EMPTY)
    parsed: Parsed | None = None
    try:
        parsed = parse(stream_of(file), file.size, _KEYWORDS, limits)
        header = _header(parsed.dataset, parsed.pixels, name, file.size, salt, limits)
        check_length(header, parsed.stream, parsed.size)
    except Exception as error:  # noqa: BLE001
        # The edge between broken bytes and us: pydicom's parsers raise whatever they meet
        # (struct.error, KeyError, AttributeError, ...), and none of it may end a scan.
        refused = _refusal(error)
        if parsed is not None:
            refused.study_instance_uid = _optional_uid(parsed.dataset, "StudyInstanceUID")
            refused.series_instance_uid = _optional_uid(parsed.dataset, "SeriesInstanceUID")
            refused.sop_instance_uid = _optional_uid(parsed.dataset, "SOPInstanceUID")
        raise refused from None
    return header


def _refusal(error: Exception) -> FileRefused:
    if isinstance(error, FileRefused):
        return error
    if isinstance(error, RecursionError):
        return FileRefused("its sequences are nested too deeply", Reason.FILE_TOO_NESTED)
    if isinstance(error, MemoryError):
        sentence = "its header asks for more memory than is allowed"
        return FileRefused(sentence, Reason.PIXELS_TOO_LARGE)
    if isinstance(error, OSError):
        return FileRefused(unreadable(error), Reason.FILE_UNREADABLE)
    sentence = f"its header cannot be parsed ({type(error).__name__})"
    return FileRefused(sentence, Reason.FILE_BAD_HEADER)


def _header(
    dataset: Dataset,
    pixels: PixelElement | None,
    name: str,
    size: int,
    salt: bytes,
    limits: HeaderLimits,
) -> InstanceHeader:
    sop_class = _sop_class(dataset, pixels)
    assert pixels is not None  # noqa: S101 - _sop_class refuses a file without pixels
    syntax = _transfer_syntax(dataset)
    numbers = _pixel_numbers(dataset, limits)
    bits_allocated = numbers["bits_allocated"]
    bits_stored = integer_of(dataset, "BitsStored") or bits_allocated
    high_bit = integer_of(dataset, "HighBit")
    return InstanceHeader(
        path=name,
        size=size,
        sop_class_uid=sop_class,
        sop_instance_uid=_uid(dataset, "SOPInstanceUID"),
        study_instance_uid=_uid(dataset, "StudyInstanceUID"),
        series_instance_uid=_uid(dataset, "SeriesInstanceUID"),
        frame_of_reference_uid=_optional_uid(dataset, "FrameOfReferenceUID"),
        transfer_syntax_uid=syntax,
        modality=text_of(dataset, "Modality").upper()[:16],
        image_type=tuple(t.upper() for t in texts_of(dataset, "ImageType")),
        patient_key=_patient_key(dataset, salt),
        series_number=integer_of(dataset, "SeriesNumber"),
        instance_number=integer_of(dataset, "InstanceNumber"),
        orientation=numbers_of(dataset, "ImageOrientationPatient", 6),
        position=numbers_of(dataset, "ImagePositionPatient", 3),
        pixel_spacing=numbers_of(dataset, "PixelSpacing", 2),
        imager_pixel_spacing=numbers_of(dataset, "ImagerPixelSpacing", 2),
        slice_thickness=number_of(dataset, "SliceThickness"),
        spacing_between_slices=number_of(dataset, "SpacingBetweenSlices"),
        **numbers,
        photometric=text_of(dataset, "PhotometricInterpretation").upper(),
        bits_stored=bits_stored,
        high_bit=bits_stored - 1 if high_bit is None else high_bit,
        is_signed=integer_of(dataset, "PixelRepresentation") == 1,
        padding=integer_of(dataset, "PixelPaddingValue"),
        padding_limit=integer_of(dataset, "PixelPaddingRangeLimit"),
        planar_configuration=integer_of(dataset, "PlanarConfiguration"),
        has_palette="RedPaletteColorLookupTableDescriptor" in dataset,
        slope=number_of(dataset, "RescaleSlope"),
        intercept=number_of(dataset, "RescaleIntercept"),
        rescale_type=text_of(dataset, "RescaleType"),
        has_modality_lut="ModalityLUTSequence" in dataset,
        pixels=pixels,
        places=functional_groups.places_of(dataset),
        is_concatenated="ConcatenationUID" in dataset,
        is_quadruped=text_of(dataset, "AnatomicalOrientationType").upper() == "QUADRUPED",
        phases=_phases(dataset),
        acquisition_time=text_of(dataset, "AcquisitionTime"),
        content_time=text_of(dataset, "ContentTime"),
        image_index=integer_of(dataset, "ImageIndex"),
        number_of_slices=integer_of(dataset, "NumberOfSlices"),
        number_of_time_slices=integer_of(dataset, "NumberOfTimeSlices"),
        number_of_temporal_positions=integer_of(dataset, "NumberOfTemporalPositions"),
        units=text_of(dataset, "Units").upper(),
        series_description=text_of(dataset, "SeriesDescription"),
        body_part=text_of(dataset, "BodyPartExamined").upper(),
        protocol=text_of(dataset, "ProtocolName"),
        kernel=text_of(dataset, "ConvolutionKernel"),
        has_contrast=bool(text_of(dataset, "ContrastBolusAgent")),
        manufacturer=text_of(dataset, "Manufacturer"),
        model_name=text_of(dataset, "ManufacturerModelName"),
        field_strength=number_of(dataset, "MagneticFieldStrength"),
    )


def _sop_class(dataset: Dataset, pixels: PixelElement | None) -> str:
    media = str(dataset.file_meta.get("MediaStorageSOPClassUID", ""))
    if media == sop_classes.MEDIA_DIRECTORY or "DirectoryRecordSequence" in dataset:
        sentence = "it is a DICOMDIR, the table of contents of a medium"
        raise FileRefused(sentence, Reason.FILE_MEDIA_DIRECTORY)
    sop_class = str(value_of(dataset, "SOPClassUID") or media)
    if not _UID.fullmatch(sop_class):
        raise FileRefused("it states no valid SOPClassUID", Reason.FILE_BAD_HEADER)
    name = sop_classes.name_of(sop_class)
    if not sop_classes.is_image(sop_class):
        raise FileRefused(f"{name} is not an image", Reason.FILE_NOT_IMAGE)
    if pixels is None and "Image Storage" in name:
        raise FileRefused(f"{name} without pixel data", Reason.FILE_NO_PIXELS)
    if pixels is None:
        raise FileRefused(f"{name} without pixel data is not an image", Reason.FILE_NOT_IMAGE)
    if pixels.is_float:
        sentence = "floating-point pixel data are not supported"
        raise FileRefused(sentence, Reason.PIXELS_UNSUPPORTED)
    return sop_class


def _uid(dataset: Dataset, keyword: str) -> str:
    value = value_of(dataset, keyword)
    if value is None or not _UID.fullmatch(str(value)):
        # The value is not quoted: a broken UID may hold anything.
        raise FileRefused(f"it states no valid {keyword}", Reason.FILE_UID_INVALID)
    return str(value)


def _optional_uid(dataset: Dataset, keyword: str) -> str | None:
    value = value_of(dataset, keyword)
    return str(value) if value is not None and _UID.fullmatch(str(value)) else None


def _transfer_syntax(dataset: Dataset) -> str:
    stated = dataset.file_meta.get("TransferSyntaxUID")
    if stated is None:
        is_implicit, is_little_endian = dataset.original_encoding
        if is_implicit:
            return str(ImplicitVRLittleEndian)
        return str(ExplicitVRLittleEndian if is_little_endian else ExplicitVRBigEndian)
    syntax = UID(str(stated))
    if not _UID.fullmatch(syntax):
        raise FileRefused("it states no valid TransferSyntaxUID", Reason.FILE_BAD_HEADER)
    try:
        is_available = get_decoder(syntax).is_available
    except NotImplementedError:
        is_available = False
    if not is_available:
        sentence = f"no decoder for transfer syntax {syntax} ({syntax.name})"
        raise FileRefused(sentence, Reason.FILE_TRANSFER_SYNTAX)
    return str(syntax)


def _pixel_numbers(dataset: Dataset, limits: HeaderLimits) -> dict[str, int]:
    numbers = {
        "rows": integer_of(dataset, "Rows"),
        "columns": integer_of(dataset, "Columns"),
        "frames": 1 if "NumberOfFrames" not in dataset else integer_of(dataset, "NumberOfFrames"),
        "samples": integer_of(dataset, "SamplesPerPixel"),
        "bits_allocated": integer_of(dataset, "BitsAllocated"),
    }
    if numbers["frames"] is None and value_of(dataset, "NumberOfFrames") is None:
        numbers["frames"] = 1  # present but empty
    checked = {key: number or 0 for key, number in numbers.items()}
    wrong = [key for key, number in checked.items() if number < 1]
    if wrong or max(checked["rows"], checked["columns"]) > 65535:
        sentence = f"it states no valid {', '.join(wrong) or 'rows and columns'}"
        raise FileRefused(sentence, Reason.FILE_BAD_HEADER)
    if checked["samples"] not in (1, 3) or checked["bits_allocated"] not in (1, 8, 16, 32):
        sentence = f"{checked['samples']} samples of {checked['bits_allocated']} bits per pixel"
        raise FileRefused(f"{sentence} are not supported", Reason.PIXELS_UNSUPPORTED)
    count = checked["rows"] * checked["columns"] * checked["frames"] * checked["samples"]
    if count > limits.pixels:
        sentence = f"{count} pixel values are more than the {limits.pixels} allowed"
        raise FileRefused(sentence, Reason.PIXELS_TOO_LARGE)
    return checked


def _patient_key(dataset: Dataset, salt: bytes) -> str:
    identity = f"{text_of(dataset, 'PatientID')}\0{text_of(dataset, 'IssuerOfPatientID')}"
    return hashlib.blake2b(identity.encode(), key=salt, digest_size=8).hexdigest()


def _phases(dataset: Dataset) -> tuple[tuple[str, str], ...]:
    phases = ((keyword, text_of(dataset, keyword)) for keyword in PHASE_KEYWORDS)
    return tuple((keyword, value) for keyword, value in phases if value)
