"""Code streams that contradict their headers are refused before a decoder sees them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from pipeline.dicom.reading import read
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason
from tests.pipeline.dicom import made_series as series

SIZE = 64


def _compressed(syntax: str) -> tuple[Dataset, bytes]:
    one = series.instance(0)
    one.Rows = one.Columns = SIZE
    one.PixelData = series.pixels(0, SIZE, SIZE).tobytes()
    one.compress(syntax, generate_instance_uid=False)
    return one, get_frame(one.PixelData, 0, number_of_frames=1)


def _refusal(folder: Path, one: Dataset, frame: bytes) -> StudyRejected:
    one.PixelData = encapsulate([frame])
    series.write(folder, [one])
    with pytest.raises(StudyRejected) as refused:
        read(series.files_of(folder, series.only_series(folder)), as_image=True)
    return refused.value


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [
        (8, 4096, Reason.PIXELS_LENGTH_MISMATCH),  # Xsiz: columns
        (12, 2**31 - 1, Reason.PIXELS_LENGTH_MISMATCH),  # Ysiz: rows, a bomb
        (24, 0, Reason.PIXELS_UNDECODABLE),  # XTsiz: tiles without a size
        (24, 1, Reason.PIXELS_UNDECODABLE),  # more tiles than there are bytes for
    ],
)
def test_a_jpeg_2000_stream_of_another_size_is_refused(
    tmp_path: Path, offset: int, value: int, reason: Reason
) -> None:
    one, frame = _compressed(JPEG2000Lossless)
    if (offset, value) == (24, 1):
        one.Columns = 65535
        frame = frame[:8] + struct.pack(">I", 65535) + frame[12:]
    frame = frame[:offset] + struct.pack(">I", value) + frame[offset + 4 :]
    assert _refusal(tmp_path, one, frame).reason is reason


@pytest.mark.parametrize(
    ("offset", "value", "words"),
    [(40, b"\x00\x03", "3 samples"), (42, b"\x1f", "32 bits")],
)
def test_a_jpeg_2000_stream_of_other_samples_is_refused(
    tmp_path: Path, offset: int, value: bytes, words: str
) -> None:
    one, frame = _compressed(JPEG2000Lossless)
    changed = frame[:offset] + value + frame[offset + len(value) :]
    if offset == 40:  # three components, described alike
        changed = changed[:42] + changed[42:45] * 3 + changed[45:]
    refused = _refusal(tmp_path, one, changed)
    assert refused.reason is Reason.PIXELS_LENGTH_MISMATCH
    assert words in refused.sentence


def test_a_jpeg_ls_stream_of_another_size_is_refused(tmp_path: Path) -> None:
    one, frame = _compressed(JPEGLSLossless)
    place = frame.index(b"\xff\xf7") + 5
    changed = frame[:place] + struct.pack(">H", 60000) + frame[place + 2 :]
    assert _refusal(tmp_path, one, changed).reason is Reason.PIXELS_LENGTH_MISMATCH


def test_a_stream_of_another_kind_than_its_syntax_is_refused(tmp_path: Path) -> None:
    one, _ = _compressed(JPEGLSLossless)
    _, other = _compressed(JPEG2000Lossless)
    assert _refusal(tmp_path, one, other).reason is Reason.PIXELS_UNDECODABLE


@pytest.mark.parametrize("length", [3, 10, 43])
def test_a_stream_that_ends_inside_its_header_is_refused(tmp_path: Path, length: int) -> None:
    one, frame = _compressed(JPEG2000Lossless)
    assert _refusal(tmp_path, one, frame[:length]).reason is Reason.PIXELS_UNDECODABLE


def test_an_rle_bomb_is_refused_without_decoding(tmp_path: Path) -> None:
    one, _ = _compressed(RLELossless)
    bomb = b"\x81\x00" * 2**20  # 128 zeros of every two bytes: 128 MB
    segment = len(bomb) // 2
    frame = struct.pack("<16I", 2, 64, 64 + segment, *[0] * 13) + bomb
    assert _refusal(tmp_path, one, frame).reason is Reason.PIXELS_LENGTH_MISMATCH


@pytest.mark.parametrize("offsets", [(64, 64), (64, 10**6), (80, 64), (0, 64)])
def test_rle_segments_outside_their_frame_are_refused(
    tmp_path: Path, offsets: tuple[int, int]
) -> None:
    one, frame = _compressed(RLELossless)
    changed = struct.pack("<16I", 2, *offsets, *[0] * 13) + frame[64:]
    assert _refusal(tmp_path, one, changed).reason is Reason.PIXELS_UNDECODABLE


def test_rle_with_planes_for_another_depth_is_refused(tmp_path: Path) -> None:
    one, frame = _compressed(RLELossless)
    changed = struct.pack("<16I", 1, 64, *[0] * 14) + frame[64:]
    refused = _refusal(tmp_path, one, changed)
    assert refused.reason is Reason.PIXELS_LENGTH_MISMATCH
    assert "segments" in refused.sentence


def test_signs_are_read_as_the_header_says_and_the_contradiction_is_told() -> None:
    path = Path(str(get_testdata_file("J2K_pixelrep_mismatch.dcm")))
    image = series.read_image(path)
    dataset = dcmread(path)
    expected = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    np.testing.assert_array_equal(image.pixels[0], expected)
    assert any("unsigned samples, the header signed" in warning for warning in image.warnings)


def test_a_stream_damaged_in_its_size_marker_is_refused() -> None:
    path = Path(str(get_testdata_file("JPEG2000-embedded-sequence-delimiter.dcm")))
    with pytest.raises(StudyRejected) as refused:
        series.read_image(path)
    assert refused.value.reason is Reason.PIXELS_LENGTH_MISMATCH
