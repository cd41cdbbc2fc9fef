"""The verdict on a header: an image that can be read, or why not (PS3.3 C.7.6.3)."""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from typing import Final

from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pipeline.dicom import sop_classes
from pipeline.dicom.headers.instance import PixelElement
from pipeline.dicom.headers.stated import Stated
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.refusal import FileRefused
from pipeline.reasons import Reason

_UID: Final = re.compile(r"[0-9.]{1,64}")
_LARGEST_SIDE: Final = 65535


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The numbers that say how many bits the pixels of an instance take."""

    rows: int
    columns: int
    frames: int
    samples: int
    bits_allocated: int
    photometric: str

    @property
    def length(self) -> int:
        """Return how many bytes the uncompressed pixels take (PS3.5 8.1.1)."""
        values = self.rows * self.columns * self.samples * self.frames
        if self.photometric == "YBR_FULL_422":
            values = values * 2 // 3
        return (values * self.bits_allocated + 7) // 8


def sop_class_of(stated: Stated, pixels: PixelElement | None) -> str:
    """Return the SOP class of an image.

    Raises:
        FileRefused: it is a table of contents, no image, or an image without pixels.

    """
    media = stated.uid("MediaStorageSOPClassUID")
    if media == sop_classes.MEDIA_DIRECTORY or stated.has("DirectoryRecordSequence"):
        sentence = "it is a DICOMDIR, the table of contents of a medium"
        raise FileRefused(sentence, Reason.FILE_MEDIA_DIRECTORY)
    sop_class = stated.uid("SOPClassUID") or media
    if not _UID.fullmatch(sop_class):
        raise FileRefused("it states no valid SOPClassUID", Reason.FILE_BAD_HEADER)
    name = sop_classes.name_of(sop_class)
    if not sop_classes.is_image(sop_class):
        raise FileRefused(f"{name} is not an image", Reason.FILE_NOT_IMAGE)
    if pixels is None and "Image Storage" in name:
        raise FileRefused(f"{name} without pixel data", Reason.FILE_NO_PIXELS)
    if pixels is None:
        raise FileRefused(f"{name} without pixel data is not an image", Reason.FILE_NOT_IMAGE)
    return sop_class


def uid_of(stated: Stated, keyword: str) -> str:
    """Return a UID.

    Raises:
        FileRefused: it is absent or no UID; what it is instead is not quoted, it may be anything.

    """
    uid = optional_uid_of(stated, keyword)
    if uid is None:
        raise FileRefused(f"it states no valid {keyword}", Reason.FILE_UID_INVALID)
    return uid


def optional_uid_of(stated: Stated, keyword: str) -> str | None:
    """Return a UID, or None where it is absent or no UID."""
    uid = stated.uid(keyword)
    return uid if _UID.fullmatch(uid) else None


def transfer_syntax_of(stated: Stated, *, is_implicit: bool, is_little_endian: bool) -> str:
    """Return the transfer syntax; where none is stated, that which the data set was parsed in.

    Raises:
        FileRefused: it is no UID, or no decoder is installed for it.

    """
    if stated.has("TransferSyntaxUID"):
        syntax = stated.uid("TransferSyntaxUID")
        check_decodable(syntax)
        return syntax
    if is_implicit:
        return str(ImplicitVRLittleEndian)
    return str(ExplicitVRLittleEndian if is_little_endian else ExplicitVRBigEndian)


@functools.lru_cache(1024)
def check_decodable(transfer_syntax_uid: str) -> None:
    """Refuse transfer syntaxes that no installed decoder reads.

    Raises:
        FileRefused: with the name of the syntax.

    """
    if not _UID.fullmatch(transfer_syntax_uid):
        raise FileRefused("it states no valid TransferSyntaxUID", Reason.FILE_BAD_HEADER)
    syntax = UID(transfer_syntax_uid)
    try:
        is_available = get_decoder(syntax).is_available
    except NotImplementedError:
        is_available = False
    if not is_available:
        sentence = f"no decoder for transfer syntax {syntax} ({syntax.name})"
        raise FileRefused(sentence, Reason.FILE_TRANSFER_SYNTAX)


def shape_of(stated: Stated, limits: HeaderLimits, *, is_float: bool) -> Shape:
    """Return the shape of the pixels, computed before anything is decoded.

    Args:
        stated: the header.
        limits: how many pixels there may be.
        is_float: the pixels are floating point numbers, 32 or 64 bits wide.

    Raises:
        FileRefused: numbers that are absent, impossible, not supported or too large.

    """
    has_frames = stated.has("NumberOfFrames")
    numbers = {
        "rows": stated.integer("Rows"),
        "columns": stated.integer("Columns"),
        "frames": stated.integer("NumberOfFrames") if has_frames else 1,
        "samples": stated.integer("SamplesPerPixel"),
        "bits_allocated": stated.integer("BitsAllocated"),
    }
    checked = {key: number or 0 for key, number in numbers.items()}
    wrong = [key for key, number in checked.items() if number < 1]
    if wrong or max(checked["rows"], checked["columns"]) > _LARGEST_SIDE:
        sentence = f"it states no valid {', '.join(wrong) or 'rows and columns'}"
        raise FileRefused(sentence, Reason.FILE_BAD_HEADER)
    bits = (32, 64) if is_float else (1, 8, 16, 32)
    if checked["samples"] not in (1, 3) or checked["bits_allocated"] not in bits:
        sentence = f"{checked['samples']} samples of {checked['bits_allocated']} bits per pixel"
        raise FileRefused(f"{sentence} are not supported", Reason.PIXELS_UNSUPPORTED)
    count = checked["rows"] * checked["columns"] * checked["frames"] * checked["samples"]
    check_count(count, limits)
    return Shape(**checked, photometric=stated.text("PhotometricInterpretation").upper())


def check_count(count: int, limits: HeaderLimits) -> None:
    """Refuse an instance of more pixel values than are allowed.

    Raises:
        FileRefused: with both numbers.

    """
    if count > limits.pixels:
        sentence = f"{count} pixel values are more than the {limits.pixels} allowed"
        raise FileRefused(sentence, Reason.PIXELS_TOO_LARGE)


def patient_key_of(stated: Stated, salt: bytes) -> str:
    """Return whose images these are, as ``InstanceHeader.patient_key`` says it."""
    known, issuer = stated.text("PatientID"), stated.text("IssuerOfPatientID")
    key = _digest(known, salt)
    # The id goes into both: the digests of two patients do not tell whether one house issued them.
    return f"{key}/{_digest(known, salt, issuer)}" if issuer else key


def _digest(known: str, salt: bytes, issuer: str = "") -> str:
    identity = f"{known}\0{issuer}"
    return hashlib.blake2b(identity.encode(), key=salt, digest_size=8).hexdigest()
