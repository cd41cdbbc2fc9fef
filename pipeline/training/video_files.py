"""What a video file is, by its first bytes, and how many frames were recorded in it.

FFmpeg skips what it cannot make out, so a file that is cut off or damaged would become a shorter
loop. MP4, MOV and AVI say how many frames they have; in Matroska and WebM they are counted. Each
part of an AVI, Matroska or WebM file has to end within the one around it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, Final

MP4, AVI, MATROSKA = "mov", "avi", "matroska"
#: what ISO base media and QuickTime begin with, after a size (ISO/IEC 14496-12, 4.2)
_ATOMS: Final = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_EBML: Final = b"\x1a\x45\xdf\xa3"
#: elements that others lie in, by their depth: segment; tracks and cluster; group of blocks
_AROUND: Final = ({0x18538067}, {0x1654AE6B, 0x1F43B675}, {0xA0}, set[int]())
_TRACK, _TRACK_NUMBER, _TRACK_TYPE, _VIDEO = 0xAE, 0xD7, 0x83, 1
#: simple ones, and those in a group
_BLOCKS: Final = (0xA3, 0xA1)
#: chunks that others lie in, by their depth: the file, or each gigabyte of it; frames; some of them
_LISTS: Final = ({b"AVI ", b"AVIX"}, {b"movi"}, {b"rec "}, set[bytes]())
#: frames of AVI, compressed and not
_FRAMES: Final = (b"dc", b"db")


def form(file: BinaryIO) -> str:
    """Return FFmpeg's name for the form of a file: ``MP4``, ``AVI`` or ``MATROSKA``.

    Raises:
        ValueError: it is none of them.

    """
    file.seek(0)
    head = file.read(12)
    if head[4:8] in _ATOMS:
        return MP4
    if head[:4] == b"RIFF" and head[8:] == b"AVI ":
        return AVI
    if head[:4] == _EBML:
        return MATROSKA
    raise ValueError("the file begins like no video that is read")


def frames(file: BinaryIO, form: str, stated: int) -> int:
    """Return how many frames were recorded in a file with one video.

    Args:
        file: the whole of it.
        form: of the file.
        stated: as the file says itself; 0 where it does not.

    Raises:
        ValueError: a part of the file does not say where it ends, as in a recording that was broken
            off, or does not end within the one around it.

    """
    end = file.seek(0, 2)
    file.seek(0)
    if form == AVI:
        return stated - _empty_in_avi(file, end)
    return _in_matroska(file, end) if form == MATROSKA else stated


def _in_matroska(file: BinaryIO, end: int) -> int:
    """Count the blocks of the video track (RFC 9559, 5.1)."""
    count, video = 0, 0
    for name, stop in _elements(file, end, 0):
        if name == _TRACK:
            told = {one: file.read(last - file.tell()) for one, last in _elements(file, stop, 3)}
            if int.from_bytes(told.get(_TRACK_TYPE, b"")) == _VIDEO:
                video = int.from_bytes(told.get(_TRACK_NUMBER, b""))
        elif name in _BLOCKS:
            count += _number(file)[0] == video
    return count


def _empty_in_avi(file: BinaryIO, end: int) -> int:
    """Count the chunks of video that hold no frame: the last one is shown for longer."""
    return sum(name[2:] in _FRAMES and not size for name, size in _chunks(file, end, 0))


def _elements(file: BinaryIO, end: int, depth: int) -> Iterator[tuple[int, int]]:
    """Yield the ID and the end of each element up to ``end``, of those around others what is in."""
    while file.tell() < end:
        value, length = _number(file)
        name = value | 1 << 7 * length  # an ID keeps the bit that ends its zeros
        size, length = _number(file)
        stop = file.tell() + size
        if size == (1 << 7 * length) - 1 or stop > end:
            raise ValueError("an element does not end where it should")
        if name in _AROUND[depth]:
            yield from _elements(file, stop, depth + 1)
        else:
            yield name, stop
        file.seek(stop)


def _number(file: BinaryIO) -> tuple[int, int]:
    """Read a number, and of how many bytes it is: one more than its leading zeros (RFC 8794, 4)."""
    first = file.read(1)
    length = 9 - first[0].bit_length() if first else 9
    data = first + file.read(length - 1)
    if length > 8 or len(data) < length:
        raise ValueError("a number in the file is cut off")
    return int.from_bytes(data) ^ 1 << 7 * length, length


def _chunks(file: BinaryIO, end: int, depth: int) -> Iterator[tuple[bytes, int]]:
    """Yield the name and the size of each chunk up to ``end``, of lists what is in them."""
    while file.tell() < end:
        head = file.read(8)
        if len(head) < 8:
            raise ValueError("a chunk is cut off")
        name, size = struct.unpack("<4sI", head)
        stop = file.tell() + size
        if stop > end:
            raise ValueError("a chunk does not end where it should")
        if name in (b"RIFF", b"LIST") and file.read(4) in _LISTS[depth]:
            yield from _chunks(file, stop, depth + 1)
        else:
            yield name, size
        file.seek(stop + size % 2)
