"""The outer structure of a DICOM file (PS3.10): is it one, and where do its pixels begin?"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO, Final

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset, read_partial, read_preamble
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from pipeline.dicom.headers.elements import text_of
from pipeline.dicom.headers.gate import check_structure
from pipeline.dicom.headers.instance import PixelElement
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.refusal import FileRefused
from pipeline.dicom.sources.opening import archive_kind
from pipeline.reasons import Reason

#: FloatPixelData, DoubleFloatPixelData, PixelData
_PIXEL_TAGS: Final = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_UNDEFINED: Final = 0xFFFFFFFF
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """A parsed header, and the bytes its pixel offset counts in (inflated where deflated)."""

    dataset: Dataset
    pixels: PixelElement | None
    stream: BinaryIO
    size: int


def parse(
    stream: BinaryIO, size: int, wanted: Iterable[int] | None, limits: HeaderLimits
) -> Parsed:
    """Read the elements before the pixel data.

    Args:
        stream: an open file, at its start.
        size: bytes of the file.
        wanted: tags of the elements wanted; None = all.
        limits: how far a deflated data set may inflate, how deep it may be nested.

    Raises:
        FileRefused: the bytes are no DICOM file, end too early, inflate too far or are nested too
            deeply.

    """
    has_preamble = _probe(stream, size)
    tags = None if wanted is None else list(wanted)
    meta = _deflated_meta(stream) if has_preamble else None
    if meta is not None:
        stream = _inflate(stream, limits)
        size = len(stream.getbuffer())
    check_structure(stream, size, 132 if has_preamble and meta is None else 0, limits)
    found = _PixelFinder(stream)
    dataset: Dataset
    if meta is None:
        dataset = read_partial(stream, stop_when=found, force=not has_preamble, specific_tags=tags)
    else:
        dataset = read_dataset(stream, False, True, stop_when=found, specific_tags=tags)  # noqa: FBT003
        dataset.file_meta = meta
    if found.tag == 0:
        if found.end not in (None, size):
            refused = FileRefused("the file ends inside a data element", Reason.FILE_TRUNCATED)
            refused.series_instance_uid = text_of(dataset, "SeriesInstanceUID") or None
            raise refused
        return Parsed(dataset=dataset, pixels=None, stream=stream, size=size)
    has_long_length = not dataset.original_encoding[0] and found.vr in EXPLICIT_VR_LENGTH_32
    pixels = PixelElement(
        offset=stream.tell() + (12 if has_long_length else 8),
        length=None if found.length == _UNDEFINED else found.length,
        is_float=found.tag != _PIXEL_TAGS[2],
        is_deflated=meta is not None,
    )
    return Parsed(dataset=dataset, pixels=pixels, stream=stream, size=size)


class _PixelFinder:
    """Stop pydicom's parser at the pixel data, or at what follows where they are absent."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        #: where the value of the last element ends; None where that is not known
        self.end: int | None = None
        self.tag = 0
        self.vr: str | None = None
        self.length = 0

    def __call__(self, tag: BaseTag, vr: str | None, length: int) -> bool:
        number = int(tag)  # comparing pydicom's tags costs ten times as much
        if number in _PIXEL_TAGS:
            self.tag, self.vr, self.length = number, vr, length
        is_past = number in _PIXEL_TAGS or number > _PIXEL_TAGS[2]
        is_known = not is_past and length != _UNDEFINED
        self.end = self._stream.tell() + length if is_known else None
        return is_past


def _probe(stream: BinaryIO, size: int) -> bool:
    """Say whether the file has a preamble; refuse what does not look like DICOM at all.

    pydicom would "read" any text when forced, so a file without preamble must begin like a
    data set: group 0002 or 0008, and a length that fits or a VR of two capital letters.
    """
    head = stream.read(512)
    stream.seek(0)
    if head[128:132] == b"DICM":
        return True
    group = int.from_bytes(head[:2], "little")
    is_explicit = head[4:6].isalpha() and head[4:6].isupper()
    length = int.from_bytes(head[4:8], "little")
    is_little = group in (0x0002, 0x0008) and (is_explicit or length <= size)
    is_big = group in (0x0200, 0x0800) and is_explicit
    if (kind := archive_kind(head)) is not None:
        sentence = f"it is an archive ({kind}): give it as the source, or unpack it"
        raise FileRefused(sentence, Reason.FILE_NOT_DICOM)
    if len(head) < 8 or not (is_little or is_big):
        raise FileRefused("it is not a DICOM file", Reason.FILE_NOT_DICOM)
    return False


def _deflated_meta(stream: BinaryIO) -> FileMetaDataset | None:
    """Return the file meta information of a deflated file, the stream at its deflated bytes.

    None, and the stream at its start, where the file is not deflated.
    """
    read_preamble(stream, force=False)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)  # noqa: FBT003
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        return FileMetaDataset(meta)
    stream.seek(0)
    return None


def _inflate(stream: BinaryIO, limits: HeaderLimits) -> io.BytesIO:
    """Inflate what follows in the stream (PS3.5 A.5), up to a bound: pydicom knows none."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = io.BytesIO()
    while chunk := stream.read(_CHUNK):
        inflated.write(inflater.decompress(chunk, limits.inflated_bytes + 1 - inflated.tell()))
        if inflated.tell() > limits.inflated_bytes:
            sentence = f"it inflates to more than {limits.inflated_bytes} bytes"
            raise FileRefused(sentence, Reason.PIXELS_TOO_LARGE)
    inflated.seek(0)
    return inflated
