"""The gate before a decoder: what a code stream says of itself against what its header says.

Decoders are C and believe the code stream; whoever allocates by the header and fills by the
code stream writes out of bounds. So the first bytes are read here, in Python, and a frame that
contradicts its header is refused before a decoder sees it.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from typing import Final

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason

_J2K: Final = (JPEG2000, JPEG2000Lossless, HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL)
_JLS: Final = (JPEGLSLossless, JPEGLSNearLossless)
_LOSSLESS: Final = (JPEGLossless, JPEGLosslessSV1)
_JP2: Final = b"\x00\x00\x00\x0cjP  "
#: SOT and SOD of a tile part (ISO/IEC 15444-1 A.4.2)
_SMALLEST_TILE: Final = 14


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What a code stream states of the image in it."""

    rows: int
    columns: int
    samples: int
    bits: int
    #: None where the code stream cannot say
    is_signed: bool | None = None
    #: JPEG only: True where the samples are YCbCr, False where RGB; None where it does not say
    is_ybr: bool | None = None
    tiles: int = 1


def check(frame: bytes, header: InstanceHeader) -> tuple[Stated | None, list[str]]:
    """Compare the code stream of one frame with its header.

    Args:
        frame: the whole code stream.
        header: what it should hold.

    Returns:
        What it states (None for RLE, which states nothing but its segments), and warnings.

    Raises:
        StudyRejected: it cannot be parsed, or states another size, number of samples or more
            bits than the header; an RLE frame that is too short or too long for its pixels.

    """
    syntax = header.transfer_syntax_uid
    if syntax == RLELossless:
        _check_rle(frame, header)
        return None, []
    try:
        stated = _read_j2k(frame) if syntax in _J2K else _read_jpeg(frame, syntax)
    except (struct.error, IndexError):
        raise _undecodable("its code stream ends inside its own header") from None
    _compare(stated, header)
    if stated.tiles * _SMALLEST_TILE > len(frame):
        raise _undecodable(f"its code stream is too short for the {stated.tiles} tiles it states")
    return stated, _warnings(stated, header)


def _compare(stated: Stated, header: InstanceHeader) -> None:
    if (stated.rows, stated.columns) != (header.rows, header.columns):
        sentence = f"its code stream holds {stated.rows} x {stated.columns} pixels"
        raise _mismatch(f"{sentence} where its header states {header.rows} x {header.columns}")
    if stated.samples != header.samples:
        sentence = f"its code stream holds {stated.samples} samples per pixel"
        raise _mismatch(f"{sentence} where its header states {header.samples}")
    if not 1 <= stated.bits <= header.bits_allocated:
        sentence = f"its code stream holds samples of {stated.bits} bits"
        raise _mismatch(f"{sentence} where its header allocates {header.bits_allocated}")


def _warnings(stated: Stated, header: InstanceHeader) -> list[str]:
    warnings = []
    if stated.bits != header.bits_stored:
        sentence = f"the code stream states {stated.bits} bits, the header {header.bits_stored}"
        warnings.append(f"{sentence}; the samples are read as the code stream says")
    if stated.is_signed is not None and stated.is_signed != header.is_signed:
        kinds = ("unsigned", "signed")
        sentence = f"the code stream states {kinds[stated.is_signed]} samples"
        warnings.append(
            f"{sentence}, the header {kinds[header.is_signed]}; read as the header says"
        )
    return warnings


def _read_j2k(frame: bytes) -> Stated:
    """Read the SIZ marker of a JPEG 2000 or HTJ2K code stream (ISO/IEC 15444-1 A.5.1)."""
    start = _jp2_start(frame) if frame.startswith(_JP2) else 0
    if frame[start : start + 4] != b"\xff\x4f\xff\x51":
        raise _undecodable("its pixels are not a JPEG 2000 code stream")
    width, height, left, top, tile_width, tile_height, tile_left, tile_top, count = (
        struct.unpack_from(">8IH", frame, start + 8)
    )
    components = [
        struct.unpack_from(">3B", frame, start + 42 + 3 * i) for i in range(min(count, 4))
    ]
    if not components or len(set(components)) > 1 or components[0][1:] != (1, 1):
        raise _undecodable("the samples of its code stream differ in depth or size")
    if min(tile_width, tile_height) < 1 or tile_left > left or tile_top > top:
        raise _undecodable("the tiles of its code stream are impossible")
    across = -(-(width - tile_left) // tile_width)
    down = -(-(height - tile_top) // tile_height)
    return Stated(
        rows=height - top,
        columns=width - left,
        samples=count,
        bits=(components[0][0] & 0x7F) + 1,
        is_signed=bool(components[0][0] & 0x80),
        tiles=across * down,
    )


def _jp2_start(frame: bytes) -> int:
    """Return where the code stream begins in a JP2 file (ISO/IEC 15444-1 annex I)."""
    position = 0
    for _ in range(64):
        length, kind = struct.unpack_from(">I4s", frame, position)
        head = 8
        if length == 1:
            length, head = struct.unpack_from(">Q", frame, position + 8)[0], 16
        if kind == b"jp2c":
            return position + head
        if length < head:
            break
        position += length
    raise _undecodable("its JP2 boxes hold no code stream")


def _read_jpeg(frame: bytes, syntax: str) -> Stated:
    """Read the frame header of a JPEG or JPEG-LS code stream (ISO/IEC 10918-1 B.2.2)."""
    if frame[:2] != b"\xff\xd8":
        raise _undecodable("its pixels are not a JPEG code stream")
    position, transform, is_jfif = 2, None, False
    while True:
        while frame[position] == 0xFF and frame[position + 1] == 0xFF:
            position += 1
        marker, length = struct.unpack_from(">HH", frame, position)
        if marker < 0xFF01 or marker == 0xFFDA or length < 2:
            raise _undecodable("its JPEG code stream has no frame header")
        body = frame[position + 4 : position + 2 + length]
        if marker == 0xFFEE and body[:5] == b"Adobe" and len(body) >= 12:
            transform = body[11]
        is_jfif = is_jfif or (marker == 0xFFE0 and body[:4] == b"JFIF")
        if marker in _frame_markers(syntax):
            return _jpeg_frame(body, transform, is_jfif=is_jfif)
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            raise _undecodable("its JPEG code stream is of another process than its syntax")
        position += 2 + length


def _frame_markers(syntax: str) -> tuple[int, ...]:
    if syntax in _JLS:
        return (0xFFF7,)
    return (0xFFC3,) if syntax in _LOSSLESS else (0xFFC0, 0xFFC1, 0xFFC2)


def _jpeg_frame(body: bytes, transform: int | None, *, is_jfif: bool) -> Stated:
    bits, rows, columns, samples = struct.unpack_from(">BHHB", body)
    ids = body[6 : 6 + 3 * samples : 3]
    is_ybr: bool | None = None
    if samples == 3:
        # The Adobe marker decides, then JFIF, then identifiers that spell the colours.
        if transform is not None:
            is_ybr = transform == 1
        elif is_jfif:
            is_ybr = True
        elif ids.upper() == b"RGB":
            is_ybr = False
    return Stated(rows=rows, columns=columns, samples=samples, bits=bits, is_ybr=is_ybr)


def _check_rle(frame: bytes, header: InstanceHeader) -> None:
    """Check the segment table and lengths (PS3.5 annex G): a byte plane of a sample each."""
    if header.bits_allocated % 8:
        raise StudyRejected("RLE of single bits is not supported", Reason.PIXELS_UNSUPPORTED)
    planes = header.samples * header.bits_allocated // 8
    if len(frame) < 64:
        raise _undecodable("its RLE frame is shorter than its header")
    count, *offsets = struct.unpack_from("<16I", frame)
    if not 1 <= count <= 15:
        raise _undecodable("its RLE frame does not begin with a table of segments")
    if count != planes:
        raise _mismatch(f"its RLE frame has {count} segments where its header needs {planes}")
    edges = [*offsets[:count], len(frame)]
    if edges[0] != 64 or any(a >= b for a, b in itertools.pairwise(edges)):
        raise _undecodable("the segments of its RLE frame overlap or lie outside it")
    size = header.rows * header.columns
    for first, last in itertools.pairwise(edges):
        # Two bytes make 128 at most; and the worst coding of a byte takes two.
        if not size <= 64 * (last - first) <= 64 * (2 * size + 2 * header.rows + 2):
            raise _mismatch(f"an RLE segment of {last - first} bytes for {size} pixels")


def _mismatch(sentence: str) -> StudyRejected:
    return StudyRejected(sentence, Reason.PIXELS_LENGTH_MISMATCH)


def _undecodable(sentence: str) -> StudyRejected:
    return StudyRejected(sentence, Reason.PIXELS_UNDECODABLE)
