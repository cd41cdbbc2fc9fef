"""Frames are found in their fragments, whatever the offset table says; or refused."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, fragment_frame, get_frame, itemize_fragment
from pydicom.uid import JPEG2000Lossless, RLELossless, UltrasoundMultiFrameImageStorage

from pipeline.dicom.pixels.fragments import frames_of
from pipeline.dicom.reading import read
from pipeline.dicom.sources.opening import open_source
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason
from pipeline.volume import Image
from tests.pipeline.dicom import made_series as series
from tests.pipeline.dicom.series.made_frames import header_of

SIZE = 64
_END = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"


def _loop(syntax: str, frames: int = 3) -> tuple[Dataset, list[bytes]]:
    """A cine loop and its code streams."""
    one = series.instance(0)
    one.NumberOfFrames, one.Modality = frames, "US"
    one.SOPClassUID = UltrasoundMultiFrameImageStorage
    one.Rows = one.Columns = SIZE
    one.PixelData = b"".join(series.pixels(n, SIZE, SIZE).tobytes() for n in range(frames))
    series.with_meta(one)
    one.compress(syntax, generate_instance_uid=False)
    return one, [get_frame(one.PixelData, i, number_of_frames=frames) for i in range(frames)]


def _read(folder: Path, one: Dataset, pixel_data: bytes) -> Image:
    one.PixelData = pixel_data
    series.write(folder, [one])
    image = read(series.files_of(folder, series.only_series(folder)), as_image=True)
    assert isinstance(image, Image)
    return image


def _firsts(image: Image) -> list[float]:
    return [float(value) + 1024 for value in image.pixels[:, 0, 0]]


def _items(table: bytes, fragments: list[bytes]) -> bytes:
    return b"".join(map(itemize_fragment, [table, *fragments])) + _END


def test_one_fragment_per_frame_needs_no_table(tmp_path: Path) -> None:
    one, frames = _loop(RLELossless)
    image = _read(tmp_path, one, encapsulate(frames, has_bot=False))
    assert _firsts(image) == [0, 1000, 2000]


@pytest.mark.parametrize("table", [b"\xff" * 12, b"\0" * 12, b"\0\0\0\0\2\0\0\0", b"\0" * 5])
def test_a_broken_table_is_refused_though_the_file_has_changed_since_it_was_scanned(
    tmp_path: Path, table: bytes
) -> None:
    one, frames = _loop(RLELossless)
    one.PixelData = _items(b"", frames)
    header = header_of(tmp_path, one)
    one.PixelData = _items(table, frames)
    dcmwrite(tmp_path / header.path, one, enforce_file_format=True)
    file = open_source(str(tmp_path)).open(header.path)
    with file, pytest.raises(StudyRejected) as refused:
        frames_of(file, header)
    assert refused.value.reason is Reason.FILE_BAD_HEADER


@pytest.mark.parametrize("table", ["with table", "without"])
def test_frames_in_several_fragments_are_put_together(tmp_path: Path, table: str) -> None:
    one, frames = _loop(JPEG2000Lossless)
    has_table = table == "with table"
    image = _read(tmp_path, one, encapsulate(frames, fragments_per_frame=3, has_bot=has_table))
    assert _firsts(image) == [0, 1000, 2000]


def test_one_frame_in_several_fragments_is_put_together(tmp_path: Path) -> None:
    one, (frame,) = _loop(JPEG2000Lossless, frames=1)
    pixel_data = _items(b"", list(fragment_frame(frame, nr_fragments=4)))
    np.testing.assert_array_equal(_firsts(_read(tmp_path, one, pixel_data)), [0])


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_more_frames_than_stated_are_refused(tmp_path: Path, syntax: str) -> None:
    one, frames = _loop(syntax)
    one.NumberOfFrames = 2
    with pytest.raises(StudyRejected) as refused:
        _read(tmp_path, one, encapsulate(frames, has_bot=False))
    assert refused.value.reason is Reason.PIXELS_LENGTH_MISMATCH


def test_a_second_image_behind_a_single_frame_is_refused(tmp_path: Path) -> None:
    one, (frame, other) = _loop(JPEG2000Lossless, frames=2)
    del one.NumberOfFrames
    with pytest.raises(StudyRejected) as refused:
        _read(tmp_path, one, encapsulate([frame, other], has_bot=False))
    assert refused.value.reason is Reason.PIXELS_LENGTH_MISMATCH


@pytest.mark.parametrize("fragment", [b"", b"\xff\xd8"])
def test_a_fragment_shorter_than_three_bytes_is_refused(tmp_path: Path, fragment: bytes) -> None:
    one, (frame,) = _loop(JPEG2000Lossless, frames=1)
    item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(fragment)) + fragment
    with pytest.raises(StudyRejected) as refused:
        _read(tmp_path, one, itemize_fragment(b"") + itemize_fragment(frame) + item + _END)
    assert refused.value.reason is Reason.PIXELS_UNDECODABLE
