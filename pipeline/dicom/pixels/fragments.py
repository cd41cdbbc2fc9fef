"""Where the frames of encapsulated pixel data lie in a file (PS3.5 A.4), without reading them."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from typing import Final, TypeAlias

from pydicom.uid import RLELossless

from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.sources.source import OpenFile
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason

#: (offset in the file, length) of every fragment of a frame
Spans: TypeAlias = tuple[tuple[int, int], ...]

_ITEM: Final = b"\xfe\xff\x00\xe0"
_END_OF_SEQUENCE: Final = b"\xfe\xff\xdd\xe0"
#: No code stream is shorter, and some decoders read past the end of one that is (VU#591834).
_SHORTEST: Final = 3
_MOST: Final = 2**20
#: what a code stream of JPEG, JPEG-LS or JPEG 2000 begins with (also boxed as JP2)
_STARTS: Final = (b"\xff\xd8\xff", b"\xff\x4f\xff", b"\x00\x00\x00")


def frames_of(file: OpenFile, header: InstanceHeader) -> list[Spans]:
    """Return the fragments of every frame.

    Where there is one fragment per frame, no table is needed. Else the basic offset table says
    where frames begin; where there is none, the code streams themselves do.

    Raises:
        StudyRejected: more or fewer frames than stated, a fragment too short to be one, an
            offset table that points elsewhere than at the first fragment of each frame.

    """
    table, fragments = _fragments(file, header)
    if len(fragments) < header.frames:
        raise _mismatch(f"{len(fragments)} fragments of pixel data for {header.frames} frames")
    # Of a single frame the table does not matter: it begins at the first fragment.
    starts = _table_starts(table, fragments) if header.frames > 1 else []
    if starts is None or (starts and len(starts) != header.frames):
        sentence = "the offset table of its compressed pixel data points elsewhere than at frames"
        raise StudyRejected(sentence, Reason.FILE_BAD_HEADER)
    if len(fragments) == header.frames:
        return [(fragment,) for fragment in fragments]
    starts = starts or _stream_starts(file, header, fragments)
    if len(starts) != header.frames:
        raise _mismatch(f"{len(starts)} frames of pixel data where {header.frames} are stated")
    edges = itertools.pairwise([*starts, len(fragments)])
    return [tuple(fragments[first:last]) for first, last in edges]


def read_frame(file: OpenFile, spans: Spans) -> bytes:
    """Return the code stream of one frame."""
    return b"".join(file.read_at(offset, length) for offset, length in spans)


def _fragments(file: OpenFile, header: InstanceHeader) -> tuple[bytes, list[tuple[int, int]]]:
    """Return the basic offset table and the place of every fragment."""
    position, table = header.pixels.offset, None
    fragments: list[tuple[int, int]] = []
    while True:
        head = file.read_at(position, 8)
        if head[:4] == _END_OF_SEQUENCE:
            return table or b"", fragments
        length = int.from_bytes(head[4:], "little")
        if head[:4] != _ITEM or position + 8 + length > file.size:
            sentence = "its compressed pixel data are not a sequence of fragments"
            raise StudyRejected(sentence, Reason.FILE_TRUNCATED)
        if table is None:
            table = file.read_at(position + 8, min(length, 4 * _MOST))
        else:
            fragments.append((position + 8, length))
            _check_fragment(length, len(fragments))
        position += 8 + length


def _check_fragment(length: int, count: int) -> None:
    if length < _SHORTEST:
        sentence = f"a fragment of {length} bytes is too short to hold compressed pixels"
        raise StudyRejected(sentence, Reason.PIXELS_UNDECODABLE)
    if count > _MOST:
        raise StudyRejected(f"more than {_MOST} fragments of pixel data", Reason.PIXELS_TOO_LARGE)


def _table_starts(table: bytes, fragments: Sequence[tuple[int, int]]) -> list[int] | None:
    """Return which fragments the offset table points at; None where it points elsewhere."""
    offsets = struct.unpack(f"<{len(table) // 4}I", table[: len(table) // 4 * 4])
    # Offsets count from the first byte after the table: from the first fragment's item.
    places = {offset - fragments[0][0]: index for index, (offset, _) in enumerate(fragments)}
    starts = [places.get(offset, -1) for offset in offsets]
    is_sound = starts[:1] in ([], [0]) and all(a < b for a, b in itertools.pairwise(starts))
    return starts if is_sound and len(table) % 4 == 0 else None


def _stream_starts(
    file: OpenFile, header: InstanceHeader, fragments: Sequence[tuple[int, int]]
) -> list[int]:
    """Return which fragments a code stream begins in."""
    if header.transfer_syntax_uid == RLELossless:
        return list(range(len(fragments)))  # a frame is one fragment (PS3.5 A.4.2)
    firsts = [file.read_at(offset, 3) for offset, _ in fragments]
    # The first three bytes of a box of JP2 are too common to look for inside a frame.
    starts = _STARTS if header.frames > 1 else _STARTS[:2]
    return [i for i, first in enumerate(firsts) if i == 0 or first in starts]


def _mismatch(sentence: str) -> StudyRejected:
    return StudyRejected(sentence, Reason.PIXELS_LENGTH_MISMATCH)
