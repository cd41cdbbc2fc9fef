"""Label maps as pixel data: bits of one segment each, or whole labels in run lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: more than 2 bytes say (PS3.5 G.3.1): 257 - count, value
_LONGEST_RUN: Final = 128


@dataclass(frozen=True)
class Runs:
    """The runs of equal labels in one frame, row by row: none goes on into the next row.

    All three have the same length; ``starts`` are indices into the flat frame.
    """

    starts: NDArray[np.intp]
    lengths: NDArray[np.intp]
    labels: NDArray[np.uint8]


def runs_of(frame: NDArray[np.uint8]) -> Runs:
    """Find the runs of a frame (rows, columns)."""
    flat = frame.ravel()
    is_start = np.empty(frame.shape, bool)
    np.not_equal(flat[1:], flat[:-1], out=is_start.ravel()[1:])
    is_start[:, 0] = True
    starts = np.flatnonzero(is_start)
    return Runs(starts, np.diff(starts, append=flat.size), flat[starts])


def extents(runs: Runs) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return, by label (256,), the first flat index and one past the last; -1 where absent."""
    first, last = np.full(256, -1), np.full(256, -1)
    # of several values for one index numpy keeps the last
    first[runs.labels[::-1]] = runs.starts[::-1]
    last[runs.labels] = runs.starts + runs.lengths
    return first, last


@dataclass(frozen=True)
class Plane:
    """The bits of one label in one frame; outside ``first`` to ``last`` (flat) there are none."""

    frame: NDArray[np.uint8]
    label: int
    first: int
    last: int


def packed_bits(planes: Sequence[Plane]) -> NDArray[np.uint8]:
    """Return one bit per pixel, lowest bit first, of frames of equal size (PS3.5 8.1.1).

    A frame begins at the bit after the one before it, in the middle of a byte where rows x
    columns is not a multiple of 8.
    """
    size = planes[0].frame.size
    packed = np.zeros((len(planes) * size + 7) // 8, np.uint8)
    scratch = np.zeros(size + 8, bool)
    for index, plane in enumerate(planes):
        place, lead = divmod(index * size + plane.first, 8)
        stop = lead + plane.last - plane.first
        scratch[:lead] = False
        np.equal(plane.frame.ravel()[plane.first : plane.last], plane.label, out=scratch[lead:stop])
        bits = np.packbits(scratch[:stop], bitorder="little")
        packed[place : place + len(bits)] |= bits
    return packed


def run_length_encoded(runs: Runs) -> bytes:
    """Return a frame of one byte per pixel as RLE Lossless (PS3.5 Annex G), of even length.

    A run of one pixel is a literal run of one byte: 257 - 1 is 0 in a byte, which says just that.
    """
    counts = (runs.lengths + _LONGEST_RUN - 1) // _LONGEST_RUN
    pairs = np.empty((int(counts.sum()), 2), np.uint8)
    pairs[:, 0] = 257 - _LONGEST_RUN
    ends = np.cumsum(counts) - 1
    pairs[ends, 0] = (257 - (runs.lengths - (counts - 1) * _LONGEST_RUN)) & 0xFF
    pairs[:, 1] = np.repeat(runs.labels, counts)
    header = np.zeros(16, "<u4")
    header[:2] = 1, 64
    return header.tobytes() + pairs.tobytes()
