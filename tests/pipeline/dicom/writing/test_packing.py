from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pydicom.pixels.decoders.rle import _rle_decode_segment

from pipeline.dicom.writing.packing import (
    Plane,
    extents,
    packed_bits,
    run_length_encoded,
    runs_of,
)

#: odd shapes too: then frames begin in the middle of a byte
FRAMES = st.tuples(st.integers(1, 9), st.integers(1, 300)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 4), fill=st.integers(0, 4))
)
STACKS = st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 3))
)


@settings(deadline=None)
@given(FRAMES)
def test_runs_are_the_frame_and_end_with_their_row(frame: NDArray[np.uint8]) -> None:
    runs = runs_of(frame)
    assert np.array_equal(np.repeat(runs.labels, runs.lengths), frame.ravel())
    columns = frame.shape[1]
    ends = runs.starts + runs.lengths - 1
    assert np.array_equal(runs.starts // columns, ends // columns)


@settings(deadline=None)
@given(FRAMES)
def test_extents_are_the_first_and_the_last_pixel_of_each_label(frame: NDArray[np.uint8]) -> None:
    first, last = extents(runs_of(frame))
    for label in range(256):
        places = np.flatnonzero(frame.ravel() == label)
        expected = (places[0], places[-1] + 1) if len(places) else (-1, -1)
        assert (first[label], last[label]) == expected


@settings(deadline=None)
@given(STACKS, st.data())
def test_bits_follow_each_other_across_frames(
    stack: NDArray[np.uint8], data: st.DataObject
) -> None:
    chosen, planes = [], []
    for frame in stack:
        label = data.draw(st.integers(0, 3))
        first, last = (bounds[label] for bounds in extents(runs_of(frame)))
        chosen.append(frame == label)
        planes.append(Plane(frame, label, max(int(first), 0), max(int(last), 0)))
    bits = np.stack(chosen).ravel()
    assert np.array_equal(packed_bits(planes), np.packbits(bits, bitorder="little"))


@settings(deadline=None)
@given(FRAMES)
def test_run_lengths_decode_to_the_frame_row_by_row(frame: NDArray[np.uint8]) -> None:
    encoded = run_length_encoded(runs_of(frame))
    assert len(encoded) % 2 == 0
    header = np.frombuffer(encoded[:64], "<u4")
    assert header.tolist() == [1, 64, *[0] * 14]
    assert bytes(_rle_decode_segment(encoded[64:])) == frame.tobytes()


def test_a_long_run_is_split_and_a_single_pixel_is_a_literal() -> None:
    frame = np.zeros((1, 130), np.uint8)
    frame[0, 129] = 7
    # 129 zeros: 257 - 128, then one as a literal; one seven as a literal
    assert run_length_encoded(runs_of(frame))[64:] == bytes([129, 0, 0, 0, 0, 7])
