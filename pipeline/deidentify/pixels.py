"""The pixel data of one instance on their way through: byte for byte, masked, or blanked."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID

from pipeline.deidentify.identity import Identity
from pipeline.dicom.headers.elements import integer_of, text_of
from pipeline.dicom.headers.instance import PixelElement
from pipeline.dicom.headers.structure import Parsed
from pipeline.dicom.refusal import FileRefused
from pipeline.reasons import Reason

_CHUNK: Final = 1 << 20
#: bytes at the start of each fragment that are searched
_COMMENTS: Final = 4096
_UNDEFINED: Final = 0xFFFFFFFF
_ITEM: Final = b"\xfe\xff\x00\xe0"
_END_OF_SEQUENCE: Final = b"\xfe\xff\xdd\xe0"
_FLOATS: Final = {4: (0x0008, b"OF"), 8: (0x0009, b"OD")}


@dataclass(frozen=True, kw_only=True)
class PixelStream:
    """One pixel data element: its header bytes, and its value in chunks."""

    header: bytes
    stream: BinaryIO
    offset: int
    length: int
    #: bits of each stored value that belong to the image; None = all bytes as they are
    mask: NDArray[Any] | None = None

    def chunks(self) -> Iterator[bytes]:
        """Yield the element."""
        yield self.header
        self.stream.seek(self.offset)
        left = self.length
        while left > 0:
            chunk = self.stream.read(min(_CHUNK, left))
            if not chunk:
                raise FileRefused("the file ends inside its pixel data", Reason.FILE_TRUNCATED)
            left -= len(chunk)
            yield chunk if self.mask is None else self._masked(chunk)

    def _masked(self, chunk: bytes) -> bytes:
        assert self.mask is not None  # noqa: S101 - its one caller has asked
        whole = len(chunk) - len(chunk) % self.mask.dtype.itemsize
        return masked(chunk[:whole], self.mask) + chunk[whole:]


def pixel_stream(
    parsed: Parsed,
    pixels: PixelElement,
    syntax: UID,
    identity: Identity,
    mask: NDArray[Any] | None,
) -> PixelStream:
    """Return the pixel data of an instance as they will be written.

    Args:
        parsed: the instance.
        pixels: where its pixel data lie.
        syntax: the transfer syntax that will be written; its byte order is the file's.
        identity: who is looked for in the comments of compressed pixels.
        mask: as ``mask_of`` returned it.

    Raises:
        FileRefused: their length is not what the header says, they end early, or a comment in
            compressed ones names the patient.

    """
    length = _length(parsed, pixels, syntax, identity)
    declared = _UNDEFINED if pixels.length is None else length
    header = _element_header(parsed, pixels, declared, syntax)
    return PixelStream(
        header=header,
        stream=parsed.stream,
        offset=pixels.offset,
        length=length,
        mask=mask,
    )


def mask_of(dataset: Dataset, syntax: UID) -> NDArray[Any] | None:
    """Return the bits of the image where an overlay lies in the bits beside them (PS3.3 C.9.2).

    Such overlays are retired, and old scanners wrote the patient's name with them.

    Raises:
        FileRefused: the pixels are compressed: what lies beside the image cannot be cut out. Or
            their bytes run the other way than their transfer syntax says.

    """
    if dataset.original_encoding[1] is not syntax.is_little_endian:
        sentence = "its bytes run the other way than its transfer syntax says"
        raise FileRefused(sentence, Reason.FILE_BAD_HEADER)
    groups = {tag.group for tag in dataset.keys() if 0x6000 <= tag.group <= 0x60FF}  # noqa: SIM118
    if all((group, 0x3000) in dataset for group in groups):
        return None
    if syntax.is_encapsulated:
        sentence = "an overlay in unused bits of compressed pixels"
        raise FileRefused(sentence, Reason.DEIDENTIFY_UNSUPPORTED)
    allocated = integer_of(dataset, "BitsAllocated") or 0
    stored = integer_of(dataset, "BitsStored") or allocated
    high = integer_of(dataset, "HighBit")
    lowest = (stored - 1 if high is None else high) - stored + 1
    if allocated not in (8, 16, 32) or not 0 <= lowest <= allocated - stored:
        sentence = "an overlay in unused bits of pixels of another layout"
        raise FileRefused(sentence, Reason.DEIDENTIFY_UNSUPPORTED)
    if stored == allocated:
        return None  # nothing lies beside the image
    dtype = np.dtype(f"{'<' if syntax.is_little_endian else '>'}u{allocated // 8}")
    return np.array(((1 << stored) - 1) << lowest, dtype)


def masked(values: bytes, mask: NDArray[Any]) -> bytes:
    """Return stored values without the bits that a mask leaves out, in its byte order."""
    left = np.frombuffer(values, mask.dtype) & mask
    return bytes(left.astype(mask.dtype, copy=False).tobytes())


def plain_element(value: bytes, bits_allocated: int) -> bytes:
    """Return an uncompressed pixel data element, explicit little endian."""
    vr = b"OW" if bits_allocated > 8 else b"OB"
    return struct.pack("<HH2s2xI", 0x7FE0, 0x0010, vr, len(value)) + value


def _length(parsed: Parsed, pixels: PixelElement, syntax: UID, identity: Identity) -> int:
    if syntax.is_encapsulated:
        if pixels.length is not None:
            sentence = "compressed pixel data of defined length"
            raise FileRefused(sentence, Reason.FILE_BAD_HEADER)
        return _encapsulated_length(parsed, pixels.offset, identity)
    if pixels.length is None:
        sentence = "uncompressed pixel data of undefined length"
        raise FileRefused(sentence, Reason.FILE_BAD_HEADER)
    needed = _native_length(parsed.dataset)
    if not needed <= pixels.length <= needed + 1:
        sentence = f"{pixels.length} bytes of pixel data where its header needs {needed}"
        raise FileRefused(sentence, Reason.PIXELS_LENGTH_MISMATCH)
    if pixels.offset + pixels.length > parsed.size:
        sentence = "the file ends before the end of its pixel data"
        raise FileRefused(sentence, Reason.FILE_TRUNCATED)
    return pixels.length


def _native_length(dataset: Dataset) -> int:
    """Return how many bytes uncompressed pixels take (PS3.5 8.1.1)."""
    numbers = [
        integer_of(dataset, keyword) or 0 for keyword in ("Rows", "Columns", "BitsAllocated")
    ]
    frames = integer_of(dataset, "NumberOfFrames") or 1
    samples = integer_of(dataset, "SamplesPerPixel") or 1
    values = numbers[0] * numbers[1] * frames * samples
    if text_of(dataset, "PhotometricInterpretation") == "YBR_FULL_422":
        values = values * 2 // 3
    if values <= 0 or numbers[2] <= 0:
        raise FileRefused("it states no valid rows, columns or bits", Reason.FILE_BAD_HEADER)
    return (values * numbers[2] + 7) // 8


def _encapsulated_length(parsed: Parsed, offset: int, identity: Identity) -> int:
    """Return the length of the fragments with the end of their sequence (PS3.5 A.4)."""
    position = offset
    while True:
        parsed.stream.seek(position)
        item = parsed.stream.read(8)
        if len(item) < 8:
            sentence = "the file ends before the end of its compressed pixel data"
            raise FileRefused(sentence, Reason.FILE_TRUNCATED)
        if item[:4] == _END_OF_SEQUENCE:
            return position + 8 - offset
        if item[:4] != _ITEM:
            sentence = "its compressed pixel data are not a sequence of fragments"
            raise FileRefused(sentence, Reason.FILE_BAD_HEADER)
        length = int.from_bytes(item[4:], "little")
        # JPEG and its relatives hold comments and application data before the first scan
        if identity.is_in_bytes(parsed.stream.read(min(length, _COMMENTS))):
            sentence = "its compressed pixels carry a text that names the patient"
            raise FileRefused(sentence, Reason.DEIDENTIFY_UNSUPPORTED)
        position += 8 + length


def _element_header(parsed: Parsed, pixels: PixelElement, length: int, syntax: UID) -> bytes:
    order = "<" if syntax.is_little_endian else ">"
    bits = integer_of(parsed.dataset, "BitsAllocated") or 8
    element, vr = 0x0010, b"OW" if bits > 8 and length != _UNDEFINED else b"OB"
    if pixels.is_float:
        element, vr = _FLOATS.get(bits // 8, (0x0008, b"OF"))
    if syntax.is_implicit_VR:
        return struct.pack(f"{order}HHI", 0x7FE0, element, length)
    return struct.pack(f"{order}HH2s2xI", 0x7FE0, element, vr, length)
