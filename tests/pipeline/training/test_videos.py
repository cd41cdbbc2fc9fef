"""Videos: every frame as it was recorded, or a refusal."""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipeline.errors import StudyRejected
from pipeline.models.devices import one_thread
from pipeline.training import checking, pictures, process, recipe, videos
from pipeline.training.attempt import Order, Stop
from tests import quick_training
from tests.pipeline.training.video_phantoms import (
    LOSSLESS,
    elsewhere,
    frames,
    in_colours,
    lossless,
    of_two_sizes,
    read,
    video,
    written,
)
from tests.quick_training import write_manifest

GREY = frames()
COLOURS = in_colours(GREY)
#: a recipe for loops with masks, by planes
LOOPS = quick_training.SEGMENTATION | {
    "network": {
        "name": "UNet",
        "arguments": quick_training.SEGMENTATION["network"]["arguments"] | {"spatial_dims": 2},
    },
    "input": {"modalities": ["ES"], "spatial_dims": 2, "window": [0, 255], "size": [8, 8]},
}
#: a recipe for loops that have a class each
SEQUENCES = {
    "name": "which-way",
    "title": "Which way a square moves",
    "kind": "classification",
    "network": {
        "name": "CNNLSTM",
        "arguments": {
            "spatial_dims": 3,
            "in_channels": 1,
            "out_channels": 2,
            "features": [4, 8],
            "hidden": 8,
        },
    },
    "input": {"modalities": ["US"], "spatial_dims": 3, "window": [0, 255], "size": [8, 16, 32]},
    "labels": [{"number": 0, "name": "right"}, {"number": 1, "name": "left"}],
    "loss": "cross-entropy",
    "epochs": 2,
    "batch": 2,
}


class Quiet(Stop):
    """Never asked, and leaves the signals of the test alone."""

    def __init__(self) -> None:
        self.is_asked = False


@pytest.mark.parametrize("suffix", sorted(LOSSLESS))
def test_frames_are_read_to_the_bit_in_their_order(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path / f"a{suffix}", COLOURS)
    assert np.array_equal(videos.read(path, is_colour=True).pixels, COLOURS)


@pytest.mark.parametrize("suffix", sorted(LOSSLESS))
def test_three_equal_colours_are_grey_where_grey_is_asked_for(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path / f"a{suffix}", GREY)
    grey = videos.read(path, is_colour=False).pixels
    assert grey.dtype == np.float32
    assert np.array_equal(grey, GREY)
    assert videos.read(path, is_colour=True).pixels.shape == (*GREY.shape, 3)


def test_colours_where_grey_is_asked_for_are_refused_or_turned_to_grey(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mkv", COLOURS)
    with pytest.raises(StudyRejected, match="has colours"):
        videos.read(path, is_colour=False)
    grey = videos.read(path, is_colour=False, to_grey=True).pixels
    assert np.abs(grey - COLOURS @ [0.299, 0.587, 0.114]).max() <= 1.0


@pytest.mark.parametrize(
    ("container", "encoder", "options"),
    [
        ("mp4", "libx264", {"qp": "0", "bf": "2"}),
        ("mp4", "libx264", {"crf": "18", "bf": "2"}),
        ("avi", "mpeg4", {"qscale": "1"}),
        ("webm", "libvpx-vp9", {"lossless": "1"}),
        ("webm", "libvpx", {"crf": "4", "b": "4M"}),
    ],
)
def test_an_encoded_grey_video_is_grey_and_close_to_what_was_recorded(
    tmp_path: Path, container: str, encoder: str, options: dict[str, str]
) -> None:
    """Of 219 steps between black and white, one more or less; lossy encoders blur the edges."""
    data = video(GREY, container=container, encoder=encoder, pixels="yuv420p", options=options)
    grey = read(tmp_path / "a", data)
    assert grey.shape == GREY.shape
    is_lossless = options.get("qp") == "0" or "lossless" in options
    assert np.abs(grey - GREY).max() <= (1 if is_lossless else 12)


def test_grey_of_16_bits_keeps_its_values(tmp_path: Path) -> None:
    deep = GREY.astype(np.uint16) * 257 + np.arange(48, dtype=np.uint16)
    assert np.array_equal(read(tmp_path / "a.mkv", video(deep, pixels="gray16le")), deep)


def test_colours_of_10_bits_are_refused_and_not_cut_down(tmp_path: Path) -> None:
    data = video(COLOURS, pixels="yuv444p10le")
    with pytest.raises(StudyRejected, match="more than 8 bits"):
        read(tmp_path / "a.mkv", data, is_colour=True)


def test_what_can_be_seen_through_is_refused(tmp_path: Path) -> None:
    full = video(COLOURS, pixels="bgra")
    assert np.array_equal(read(tmp_path / "a.mkv", full, is_colour=True), COLOURS)
    written = io.BytesIO()
    with av.open(written, "w", format="matroska") as file:
        stream: Any = file.add_stream("ffv1", rate=10)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "bgra"
        half = np.full((32, 48, 4), 128, np.uint8)
        file.mux(stream.encode(av.VideoFrame.from_ndarray(half, format="rgba")))
        file.mux(stream.encode())
    with pytest.raises(StudyRejected, match="seen through"):
        read(tmp_path / "a.mkv", written.getvalue(), is_colour=True)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_is_left_out(tmp_path: Path, suffix: str) -> None:
    data = lossless(COLOURS, suffix, with_sound=True)
    assert np.array_equal(read(tmp_path / "a", data, is_colour=True), COLOURS)


def test_a_video_of_which_an_edit_list_hides_frames_is_refused(tmp_path: Path) -> None:
    """ISO/IEC 14496-12, 8.6.6: the track is shown from its third frame on."""
    data = bytearray(lossless(COLOURS, ".mov"))
    with av.open(io.BytesIO(data), format="mov") as file:
        track = file.streams.video[0]
        later = 2 / track.average_rate / track.time_base
    place = data.index(b"elst") + 16
    assert struct.unpack_from(">i", data, place) == (0,)
    struct.pack_into(">i", data, place, int(later))
    with pytest.raises(StudyRejected, match="3 of 5 frames"):
        read(tmp_path / "a", bytes(data), is_colour=True)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize(("across", "down"), [(False, False), (True, False), (False, True)])
def test_frames_are_shown_as_the_file_says(
    tmp_path: Path, turns: int, *, across: bool, down: bool
) -> None:
    """The oracle turns counterclockwise, then mirrors."""
    data = lossless(COLOURS, ".mov", turned=(90.0 * turns, across, down))
    expected = np.rot90(COLOURS, turns, axes=(1, 2))
    expected = expected[:, :: -1 if down else 1, :: -1 if across else 1]
    assert np.array_equal(read(tmp_path / "a.mov", data, is_colour=True), expected)


def test_frames_at_an_angle_are_refused(tmp_path: Path) -> None:
    data = lossless(COLOURS, ".mov", turned=(30.0, False, False))
    with pytest.raises(StudyRejected, match="at an angle"):
        read(tmp_path / "a.mov", data, is_colour=True)


def test_a_frame_that_others_only_refer_to_is_not_shown(tmp_path: Path) -> None:
    """Alternate references of VP8: a bit says that they are not to be shown (RFC 6386, 9.1)."""
    data = video(GREY, container="webm", encoder="libvpx", pixels="yuv420p", options={"b": "4M"})
    with av.open(io.BytesIO(data)) as file:
        _, one, *_ = [bytes(packet) for packet in file.demux(video=0)]
    hidden = data.replace(one, bytes([one[0] & ~0x10]) + one[1:], 1)
    whole = read(tmp_path / "a", data)
    assert len(np.unique(whole, axis=0)) == len(GREY)
    assert np.array_equal(read(tmp_path / "b", hidden), np.delete(whole, 1, axis=0))


def test_frames_that_change_their_size_are_refused(tmp_path: Path) -> None:
    flat = [np.full((32, 48, 3), 90, np.uint8), np.full((16, 48, 3), 90, np.uint8)]
    with pytest.raises(StudyRejected, match="differ in size"):
        read(tmp_path / "a", of_two_sizes(*flat), is_colour=True)


def test_a_file_of_two_videos_is_refused(tmp_path: Path) -> None:
    written = io.BytesIO()
    with av.open(written, "w", format="matroska") as file:
        streams: list[Any] = [file.add_stream("ffv1", rate=10) for _ in range(2)]
        for stream in streams:
            stream.height, stream.width, stream.pix_fmt = 32, 48, "gray"
        for stream in streams:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(GREY[0], format="gray")))
            file.mux(stream.encode())
    with pytest.raises(StudyRejected, match="2 videos"):
        read(tmp_path / "a", written.getvalue())


def test_other_compressions_are_not_tried(tmp_path: Path) -> None:
    data = video(COLOURS, container="avi", encoder="utvideo", pixels="gbrp")
    with av.open(io.BytesIO(data)) as file:
        assert len(list(file.decode(video=0))) == len(COLOURS)
    with pytest.raises(StudyRejected, match="compression"):
        read(tmp_path / "a", data, is_colour=True)


def test_frames_in_another_file_are_not_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg does so only where it is allowed to; ours opens nothing even then."""
    whole = lossless(COLOURS, ".mov")
    (tmp_path / "other").write_bytes(whole)
    data = elsewhere(whole, str(tmp_path / "other"))
    allowing = {"enable_drefs": "1", "use_absolute_path": "1"}
    with av.open(io.BytesIO(data), format="mov", options=allowing) as file:
        assert len(list(file.decode(video=0))) == len(COLOURS)
    for told in ({}, allowing):
        monkeypatch.setattr(videos, "_LIMITS", videos._LIMITS | told)
        with pytest.raises(StudyRejected, match="not a readable"):
            read(tmp_path / "a.mov", data, is_colour=True)


def test_a_video_absurdly_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.mkv", GREY)
    monkeypatch.setattr(videos, "_MOST_PIXELS", GREY.size)
    assert videos.read(path, is_colour=False).pixels.shape == GREY.shape
    monkeypatch.setattr(videos, "_MOST_PIXELS", GREY.size - 1)
    with pytest.raises(StudyRejected, match="absurdly large"):
        videos.read(path, is_colour=False)


def test_frames_absurdly_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.mkv", GREY)
    monkeypatch.setitem(videos._LIMITS, "max_pixels", str(GREY[0].size - 1))
    with pytest.raises(StudyRejected):
        videos.read(path, is_colour=False)


def test_where_the_library_is_not_installed_the_refusal_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "a.mkv", GREY)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(StudyRejected, match=r"nightshift\[video\]"):
        videos.read(path, is_colour=False)


def test_without_remarks_a_video_is_a_tiff_of_the_same_frames(tmp_path: Path) -> None:
    for shown, is_colour in ((GREY, False), (COLOURS, True)):
        path = written(tmp_path / "a.mov", shown)
        (tmp_path / "a.tif").write_bytes(videos.without_remarks(path.read_bytes()))
        again = pictures.read(tmp_path / "a.tif", is_colour=is_colour).pixels
        assert np.array_equal(again, shown)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyRejected, match="not a readable"):
        videos.read(tmp_path / "none.mp4", is_colour=False)


def write_cases(folder: Path, suffix: str, *, has_masks: bool = True) -> Path:
    """Write loops of squares that move, as videos or as arrays, with masks or a class each."""
    folder.mkdir()
    rows = []
    parts = ("train", "train", "val", "test")
    for number, part in enumerate(parts):
        shown = frames(3, 16, 32) + np.uint8(number)
        if not has_masks and number % 2:
            shown = shown[::-1]
        if suffix == ".npy":
            np.save(folder / f"{number}.npy", shown)
        else:
            written(folder / f"{number}{suffix}", shown)
        np.save(folder / f"{number}.mask.npy", (shown > 100).astype(np.uint8))
        label = f"{number}.mask.npy" if has_masks else ("right", "left")[number % 2]
        rows.append((f"{number}{suffix}", label, f"p{number}", part))
    return write_manifest(folder, rows)


@pytest.mark.parametrize("asked", [LOOPS, SEQUENCES], ids=["by planes", "as a sequence"])
def test_a_training_learns_from_videos_what_it_learns_from_the_same_loops_in_arrays(
    tmp_path: Path, asked: dict[str, Any]
) -> None:
    """To the bit, from the manifest to the bundle."""
    weights, scores = [], []
    for suffix in (".npy", ".mkv"):
        folder, said = tmp_path / suffix, list[Mapping[str, Any]]()
        order = Order(
            recipe=asked,
            manifest=str(write_cases(folder, suffix, has_masks=asked is LOOPS)),
            folder=str(folder / "work"),
            bundle=str(folder / "bundle"),
            version="1.0",
            device="cpu",
        )
        with one_thread():
            process.run(order, said.append, Quiet())
        assert said[-1]["event"] == "finished"
        weights.append((folder / "bundle" / "models" / "model.safetensors").read_bytes())
        scores.append(said[-1]["metrics"])
    assert weights[0] == weights[1]
    assert scores[0] == scores[1]


def test_a_check_finds_videos_that_are_cut_off_or_shown_twice_by_their_rows(tmp_path: Path) -> None:
    path = write_cases(tmp_path / "cases", ".mkv")
    broken, twice = tmp_path / "cases" / "0.mkv", tmp_path / "cases" / "2.avi"
    broken.write_bytes(broken.read_bytes()[:-1])
    written(twice, frames(3, 16, 32) + np.uint8(1))
    path.write_text(path.read_text().replace("2.mkv", "2.avi"))
    report = checking.check(path, recipe.check(LOOPS), shared=None, on_case=lambda *_: None)
    assert [(one.row, one.column) for one in report.faults] == [(1, "image"), (3, "image")]
    assert "not whole" in report.faults[0].sentence
    assert "row 2" in report.faults[1].sentence
