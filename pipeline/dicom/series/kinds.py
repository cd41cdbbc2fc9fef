"""What no reader of ours turns into voxels, refused by name."""

from __future__ import annotations

from typing import Final

from pipeline.dicom import sop_classes
from pipeline.dicom.series.frames import Frame, is_placed
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason

_LOCALIZER: Final = ("LOCALIZER", "SCOUT", "SURVIEW", "TOPOGRAM")
_MOSAIC: Final = ("MOSAIC", "VFRAME")


def check_kind(frame: Frame) -> None:
    """Refuse a frame of a kind that cannot be read as an image or a slice.

    Raises:
        StudyRejected: a piece of a concatenation, an enhanced object without places, a mosaic, a
            localizer, contradicting bits.

    """
    header = frame.header
    words = (*header.image_type, *frame.image_type)
    if header.is_concatenated:
        sentence = "it holds some of the frames of a concatenation, which is not supported"
        raise StudyRejected(sentence, Reason.SERIES_UNSUPPORTED)
    if header.sop_class_uid in sop_classes.ENHANCED_CLASSES and not is_placed(header):
        name = sop_classes.name_of(header.sop_class_uid)
        sentence = f"{name} without a place for each frame"
        raise StudyRejected(sentence, Reason.SERIES_GEOMETRY_INVALID)
    if any(word in _MOSAIC for word in words):
        sentence = "many slices are tiled into one image (mosaic)"
        raise StudyRejected(sentence, Reason.SERIES_MOSAIC)
    if header.is_ge_localizer or any(name in word for word in words for name in _LOCALIZER):
        sentence = "it is a localizer, made to plan other series"
        raise StudyRejected(sentence, Reason.SERIES_LOCALIZER)
    if not header.high_bit + 1 == header.bits_stored <= header.bits_allocated:
        sentence = "BitsAllocated, BitsStored and HighBit contradict each other"
        raise StudyRejected(sentence, Reason.PIXELS_UNSUPPORTED)
