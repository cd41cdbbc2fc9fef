"""Check the pixel data element against the header and the file, without reading pixels."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import BinaryIO, Final

from pydicom.uid import UID

from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.headers.judging import Shape
from pipeline.dicom.refusal import FileRefused
from pipeline.reasons import Reason

_ITEM: Final = b"\xfe\xff\x00\xe0"
_END_OF_SEQUENCE: Final = b"\xfe\xff\xdd\xe0"


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
        if header.pixels.length is not None:
            sentence = "compressed pixel data of defined length"
            raise FileRefused(sentence, Reason.FILE_BAD_HEADER)
        check_fragments(_reader_of(stream), header.pixels.offset, size, header.frames)
        return
    declared, needed = header.pixels.length, _native_length(header)
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


def check_fragments(
    read_at: Callable[[int, int], bytes], offset: int, size: int, frames: int
) -> None:
    """Walk the item headers of encapsulated pixel data to their end (PS3.5 A.4).

    Args:
        read_at: returns so many bytes from an offset, fewer at the end.
        offset: of the first item.
        size: bytes there are.
        frames: of the instance.

    Raises:
        FileRefused: cut short, not made of fragments, or with fewer fragments than frames.

    """
    position, starts = offset, list[int]()
    while True:
        item = read_at(position, 8)
        if len(item) < 8:
            sentence = "the file ends before the end of its compressed pixel data"
            raise FileRefused(sentence, Reason.FILE_TRUNCATED)
        if item[:4] == _END_OF_SEQUENCE:
            break
        if item[:4] != _ITEM:
            sentence = "its compressed pixel data are not a sequence of fragments"
            raise FileRefused(sentence, Reason.FILE_BAD_HEADER)
        starts.append(position)
        position += 8 + int.from_bytes(item[4:], "little")
        if position > size:
            sentence = "the file ends inside a fragment of its compressed pixel data"
            raise FileRefused(sentence, Reason.FILE_TRUNCATED)
    # The first item is the offset table; every frame has at least one fragment.
    if len(starts) - 1 < frames:
        sentence = f"{max(0, len(starts) - 1)} fragments of pixel data for {frames} frames"
        raise FileRefused(sentence, Reason.PIXELS_LENGTH_MISMATCH)
    if frames > 1:
        table = read_at(offset + 8, starts[1] - offset - 8)
        _check_offsets(table, [start - starts[1] for start in starts[1:]], frames)


def _check_offsets(table: bytes, starts: list[int], frames: int) -> None:
    """Refuse an offset table that does not say where each frame begins (PS3.5 A.4).

    It may be empty. Of a single frame it does not matter.
    """
    if not table:
        return
    offsets = list(struct.unpack_from(f"<{len(table) // 4}I", table))
    is_sound = len(offsets) == frames and len(table) % 4 == 0 and offsets[0] == 0
    if not is_sound or offsets != sorted(set(offsets)) or not set(offsets) <= set(starts):
        sentence = "the offset table of its compressed pixel data points elsewhere than at frames"
        raise FileRefused(sentence, Reason.FILE_BAD_HEADER)


def _native_length(header: InstanceHeader) -> int:
    return Shape(
        rows=header.rows,
        columns=header.columns,
        frames=header.frames,
        samples=header.samples,
        bits_allocated=header.bits_allocated,
        photometric=header.photometric,
    ).length


def _reader_of(stream: BinaryIO) -> Callable[[int, int], bytes]:
    def read_at(offset: int, length: int) -> bytes:
        stream.seek(offset)
        return stream.read(length)

    return read_at
