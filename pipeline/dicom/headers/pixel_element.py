"""Check the pixel data element against the header and the file, without reading pixels."""

from __future__ import annotations

from typing import BinaryIO, Final

from pydicom.uid import UID

from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.refusal import FileRefused
from pipeline.reasons import Reason

_ITEM: Final = b"\xfe\xff\x00\xe0"
_END_OF_SEQUENCE: Final = b"\xfe\xff\xdd\xe0"


def native_length(header: InstanceHeader) -> int:
    """Return how many bytes the uncompressed pixels of an instance take (PS3.5 8.1.1)."""
    values = header.rows * header.columns * header.samples * header.frames
    if header.photometric == "YBR_FULL_422":
        values = values * 2 // 3
    return (values * header.bits_allocated + 7) // 8


def check_length(header: InstanceHeader, stream: BinaryIO, size: int) -> None:
    """Refuse pixel data that end early or whose length is not what the header says.

    Args:
        header: the header the element belongs to.
        stream: the bytes that the element's offset counts in.
        size: how many there are.

    Raises:
        FileRefused: truncated, or of another length than rows, columns, frames and bits need.

    """
    if UID(header.transfer_syntax_uid).is_compressed and not header.pixels.is_deflated:
        _check_fragments(header, stream, size)
        return
    declared, needed = header.pixels.length, native_length(header)
    if declared is None:
        sentence = "uncompressed pixel data of undefined length"
        raise FileRefused(sentence, Reason.FILE_BAD_HEADER)
    if header.pixels.offset + min(declared, needed) > size:
        present = max(0, size - header.pixels.offset)
        sentence = f"the file ends after {present} of {needed} bytes of pixel data"
        raise FileRefused(sentence, Reason.FILE_TRUNCATED)
    # One byte of padding makes the length even (PS3.5 8.1.1).
    if not needed <= declared <= needed + 1:
        sentence = f"{declared} bytes of pixel data where its header needs {needed}"
        raise FileRefused(sentence, Reason.PIXELS_LENGTH_MISMATCH)


def _check_fragments(header: InstanceHeader, stream: BinaryIO, size: int) -> None:
    """Walk the item headers of encapsulated pixel data to their end (PS3.5 A.4)."""
    if header.pixels.length is not None:
        sentence = "compressed pixel data of defined length"
        raise FileRefused(sentence, Reason.FILE_BAD_HEADER)
    position, items = header.pixels.offset, 0
    while True:
        stream.seek(position)
        item = stream.read(8)
        if len(item) < 8:
            sentence = "the file ends before the end of its compressed pixel data"
            raise FileRefused(sentence, Reason.FILE_TRUNCATED)
        if item[:4] == _END_OF_SEQUENCE:
            break
        if item[:4] != _ITEM:
            sentence = "its compressed pixel data are not a sequence of fragments"
            raise FileRefused(sentence, Reason.FILE_BAD_HEADER)
        position += 8 + int.from_bytes(item[4:], "little")
        items += 1
        if position > size:
            sentence = "the file ends inside a fragment of its compressed pixel data"
            raise FileRefused(sentence, Reason.FILE_TRUNCATED)
    # The first item is the offset table; every frame has at least one fragment.
    if items - 1 < header.frames:
        sentence = f"{max(0, items - 1)} fragments of pixel data for {header.frames} frames"
        raise FileRefused(sentence, Reason.PIXELS_LENGTH_MISMATCH)
