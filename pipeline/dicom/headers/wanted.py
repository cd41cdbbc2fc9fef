"""Which data elements the facts of a header are made of (names, tags and VRs of PS3.6)."""

from __future__ import annotations

from typing import Final

from pydicom.datadict import dictionary_VR, tag_for_keyword

from pipeline.dicom.headers import functional_groups

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

#: GE's private block of acquisition facts: its creator, and the kind of scan (256 = scout).
GE_CREATOR: Final = "GEAcquisitionCreator"
GE_SCAN_TYPE: Final = "GEScanType"
_PRIVATE: Final = {GE_CREATOR: (0x00190010, "LO"), GE_SCAN_TYPE: (0x00191017, "SS")}

META: Final = ("MediaStorageSOPClassUID", "TransferSyntaxUID")
#: Read to make a key of them; never kept.
IDENTITY: Final = ("PatientID", "IssuerOfPatientID")
_STANDARD: Final = (
    *("SpecificCharacterSet", *IDENTITY),
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"),
    *("FrameOfReferenceUID", "Modality", "ImageType", "SeriesDescription", "BodyPartExamined"),
    *("ProtocolName", "Manufacturer", "ManufacturerModelName", "MagneticFieldStrength"),
    *("ConvolutionKernel", "ContrastBolusAgent", "SliceThickness", "SpacingBetweenSlices"),
    *("SeriesNumber", "InstanceNumber", "AcquisitionTime", "ContentTime"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("PlanarConfiguration", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "RedPaletteColorLookupTableDescriptor"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence", "Units"),
    *("ImageIndex", "NumberOfSlices", "NumberOfTimeSlices", "NumberOfTemporalPositions"),
    *("DirectoryRecordSequence", "ConcatenationUID", "AnatomicalOrientationType"),
    *(*PHASE_KEYWORDS, *functional_groups.KEYWORDS),
)


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return tag


#: tag by keyword
TAGS: Final = {keyword: _tag(keyword) for keyword in (*META, *_STANDARD)} | {
    name: tag for name, (tag, _) in _PRIVATE.items()
}
#: the VRs that the standard gives an element, the usual one first
VRS: Final = {
    keyword: (_PRIVATE[keyword][1],)
    if keyword in _PRIVATE
    else tuple(dictionary_VR(tag).split(" or "))
    for keyword, tag in TAGS.items()
}
#: tag as it stands in a little endian file, by keyword
KEYS: Final = {
    keyword: (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")
    for keyword, tag in TAGS.items()
}
