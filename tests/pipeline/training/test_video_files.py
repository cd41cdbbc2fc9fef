"""Files of video: whole, or refused; cut off and damaged ones come to no shorter loop."""

from __future__ import annotations

import contextlib
import functools
import io
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import StudyRejected
from tests.pipeline.training.video_phantoms import (
    LOSSLESS,
    frames,
    in_colours,
    lossless,
    read,
    video,
)

COLOURS = in_colours(frames())


@functools.cache
def small(suffix: str) -> bytes:
    return lossless(COLOURS[:3, :16, :32], suffix)


#: with the table of frames behind them, before them, and without one as a whole
MUXING = [
    *((suffix, {}) for suffix in sorted(LOSSLESS)),
    (".mp4", {"moov_size": "4000"}),
]


@pytest.mark.parametrize(("suffix", "muxing"), MUXING)
def test_a_video_that_is_cut_off_anywhere_is_refused(
    tmp_path: Path, suffix: str, muxing: dict[str, str]
) -> None:
    data = lossless(COLOURS[:, :16, :32], suffix, muxing=muxing)
    whole = read(tmp_path / "a", data, is_colour=True)
    lengths = {*range(0, len(data), max(len(data) // 80, 1)), *range(len(data) - 40, len(data))}
    refused = 0
    for length in sorted(lengths):
        try:
            cut = read(tmp_path / "a", data[:length], is_colour=True)
        except StudyRejected:
            refused += 1
            continue
        assert np.array_equal(cut, whole)
    assert refused > len(lengths) * 0.6


@pytest.mark.parametrize("suffix", sorted(LOSSLESS))
@settings(deadline=None)
@given(place=st.integers(0, 10000), value=st.integers(0, 255), gap=st.integers(0, 60))
def test_a_damaged_video_is_read_in_full_or_refused(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, place: int, value: int, gap: int
) -> None:
    data = bytearray(small(suffix))
    place %= len(data)
    data[place] = value
    del data[place : place + gap]
    path = tmp_path_factory.getbasetemp() / f"damaged{suffix}"
    with contextlib.suppress(StudyRejected):
        assert len(read(path, bytes(data), is_colour=True)) == 3


@pytest.mark.parametrize(("encoder", "pixels"), [("mjpeg", "yuvj420p"), ("mpeg4", "yuv420p")])
def test_nothing_of_a_broken_frame_is_mended(tmp_path: Path, encoder: str, pixels: str) -> None:
    """Left to itself FFmpeg shows something in place of what is missing."""
    muxing = {"moov_size": "4000"}
    data = video(frames(), container="mov", encoder=encoder, pixels=pixels, muxing=muxing)
    for length in range(len(data) - 12, len(data)):
        with pytest.raises(StudyRejected):
            read(tmp_path / "a", data[:length])
    mended = 0
    for place in range(data.index(b"mdat") + 4, len(data) - 8, 40):
        broken = data[:place] + bytes(8) + data[place + 8 :]
        with contextlib.suppress(av.FFmpegError), av.open(io.BytesIO(broken)) as file:
            count = len(list(file.decode(video=0)))
        with contextlib.suppress(StudyRejected):
            read(tmp_path / "a", broken, is_colour=True)
            continue
        mended += count == len(frames())
    assert mended > 5


@pytest.mark.parametrize(
    ("suffix", "mark", "other"),
    [(".mkv", b"\x1f\x43\xb6\x75", bytes(4)), (".avi", b"00dc", b"JUNK")],
)
def test_a_loop_is_not_shorter_for_a_part_that_cannot_be_made_out(
    tmp_path: Path, suffix: str, mark: bytes, other: bytes
) -> None:
    """FFmpeg goes on with what comes next."""
    muxing = {"cluster_time_limit": "1"} if suffix == ".mkv" else {}
    before, first, second, third, *rest = lossless(COLOURS, suffix, muxing=muxing).split(mark)
    data = mark.join([before, first, second]) + other + mark.join([third, *rest])
    with av.open(io.BytesIO(data)) as file:
        assert 0 < len(list(file.decode(video=0))) < len(COLOURS)
    with pytest.raises(StudyRejected):
        read(tmp_path / "a", data, is_colour=True)


def test_a_recording_in_pieces_does_not_say_how_many_frames_it_has(tmp_path: Path) -> None:
    data = lossless(COLOURS, ".mp4", muxing={"movflags": "frag_keyframe+empty_moov"})
    with pytest.raises(StudyRejected, match="not a readable"):
        read(tmp_path / "a", data, is_colour=True)


def test_a_matroska_file_that_was_broken_off_does_not_say_where_it_ends(tmp_path: Path) -> None:
    data = lossless(COLOURS, ".mkv", muxing={"live": "1"})
    with pytest.raises(StudyRejected, match="not a readable"):
        read(tmp_path / "a", data, is_colour=True)


def test_an_empty_frame_of_an_avi_shows_the_last_one_for_longer(tmp_path: Path) -> None:
    """An AVI with sound begins with one where the video starts later."""
    data = lossless(COLOURS, ".avi", with_sound=True)
    with av.open(io.BytesIO(data), format="avi") as file:
        assert file.streams.video[0].frames == len(COLOURS) + 1
    assert np.array_equal(read(tmp_path / "a", data, is_colour=True), COLOURS)


@pytest.mark.parametrize("data", [b"", b"#EXTM3U\nother.mp4\n", b"ffconcat version 1.0\nfile b\n"])
def test_what_is_no_video_or_names_others_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(StudyRejected, match="not a readable"):
        read(tmp_path / "a.mp4", data)
