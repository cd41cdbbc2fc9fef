"""Pictures: every value as it is stored, or a refusal."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Picture

from pipeline.errors import StudyRejected
from pipeline.training import pictures
from tests import data as public

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
COLOURS = np.random.default_rng(0).integers(0, 256, (3, 4, 3)).astype(np.uint8)


def saved(path: Path, values: NDArray[np.generic], mode: str | None = None) -> Path:
    picture = Picture.fromarray(values)
    (picture if mode is None else picture.convert(mode)).save(path)
    return path


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("a.png", "u1"), ("a.png", "u2"), *(("a.tif", one) for one in ("u1", "u2", "i4", "f4"))],
)
def test_grey_values_are_kept_to_the_bit(tmp_path: Path, name: str, dtype: str) -> None:
    values = (GREY.astype("f8") * (250 if dtype != "u1" else 1)).astype(dtype)
    read = pictures.read(saved(tmp_path / name, values), is_colour=False)
    assert np.array_equal(read.pixels, values[None].astype(np.float32))


def test_black_and_white_are_0_and_1(tmp_path: Path) -> None:
    read = pictures.read(saved(tmp_path / "a.png", GREY > 100), is_colour=False)
    assert np.array_equal(read.pixels[0], GREY > 100)


def test_a_grey_jpeg_is_read(tmp_path: Path) -> None:
    flat = np.full((16, 16), 77, np.uint8)
    read = pictures.read(saved(tmp_path / "a.jpg", flat), is_colour=False)
    assert np.array_equal(read.pixels[0], flat)


def test_grey_in_three_equal_colours_is_grey_where_grey_is_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", np.repeat(GREY[..., None], 3, axis=2))
    assert np.array_equal(pictures.read(path, is_colour=False).pixels[0], GREY)
    assert pictures.read(path, is_colour=True).pixels.shape == (1, 3, 4, 3)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_where_grey_is_asked_for_are_refused_or_turned_to_grey(
    tmp_path: Path, mode: str
) -> None:
    path = saved(tmp_path / "a.png", COLOURS, mode)
    with pytest.raises(StudyRejected, match="has colours"):
        pictures.read(path, is_colour=False)
    grey = pictures.read(path, is_colour=False, to_grey=True).pixels[0]
    assert np.abs(grey - COLOURS @ [0.299, 0.587, 0.114]).max() <= 1.0
    assert np.array_equal(pictures.read(path, is_colour=True).pixels[0], COLOURS)


@pytest.mark.parametrize("is_colour", [False, True])
def test_what_can_be_seen_through_is_refused(tmp_path: Path, *, is_colour: bool) -> None:
    values = np.dstack([COLOURS, np.full((3, 4), 255, np.uint8)])
    values[1, 1, 3] = 254
    with pytest.raises(StudyRejected, match="seen through"):
        pictures.read(saved(tmp_path / "a.png", values), is_colour=is_colour, to_grey=True)


def test_colours_of_16_bits_are_refused_and_not_cut_down(tmp_path: Path) -> None:
    head = struct.pack(">IIBBBBB", 4, 3, 16, 2, 0, 0, 0)  # 4 x 3, 16 bits, colours
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in COLOURS)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks))
    with pytest.raises(StudyRejected, match="16 bits"):
        pictures.read(path, is_colour=True)


def test_the_frames_of_a_tiff_are_the_frames_of_a_loop(tmp_path: Path) -> None:
    first, *others = (Picture.fromarray(GREY + number) for number in range(3))
    first.save(tmp_path / "a.tif", save_all=True, append_images=others)
    read = pictures.read(tmp_path / "a.tif", is_colour=False)
    assert np.array_equal(read.pixels, np.stack([GREY + number for number in range(3)]))


def test_frames_of_several_sizes_are_refused(tmp_path: Path) -> None:
    other = Picture.fromarray(GREY[:2])
    Picture.fromarray(GREY).save(tmp_path / "a.tif", save_all=True, append_images=[other])
    with pytest.raises(StudyRejected, match="differ"):
        pictures.read(tmp_path / "a.tif", is_colour=False)


def test_a_picture_is_shown_as_its_orientation_says(tmp_path: Path) -> None:
    exif = Picture.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    Picture.fromarray(GREY).save(tmp_path / "a.png", exif=exif)
    read = pictures.read(tmp_path / "a.png", is_colour=False)
    assert np.array_equal(read.pixels[0], np.rot90(GREY, -1))


def test_of_a_palette_the_numbers_count_in_a_mask(tmp_path: Path) -> None:
    numbers = np.array([[0, 1], [2, 21]], np.uint8)
    picture = Picture.fromarray(numbers, "P")
    picture.putpalette(bytes(range(256)) * 3)
    picture.save(tmp_path / "a.png")
    assert pictures.read_numbers(tmp_path / "a.png").tolist() == [numbers.tolist()]
    with pytest.raises(StudyRejected, match="has colours"):
        pictures.read(tmp_path / "a.png", is_colour=False)


def test_a_map_of_more_than_255_objects_keeps_its_numbers(tmp_path: Path) -> None:
    numbers = np.array([[0, 300], [65535, 2]], np.uint16)
    for name in ("a.png", "a.tif"):
        assert np.array_equal(pictures.read_numbers(saved(tmp_path / name, numbers))[0], numbers)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
@settings(deadline=None)  # one byte can make a picture of two million rows
@given(place=st.integers(0, 400), value=st.integers(0, 255), cut=st.integers(0, 60))
def test_a_damaged_picture_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, place: int, value: int, cut: int
) -> None:
    path = saved(tmp_path_factory.getbasetemp() / name, COLOURS)
    damaged = bytearray(path.read_bytes())
    damaged[place % len(damaged)] = value
    path.write_bytes(damaged[: len(damaged) - cut])
    try:
        read = pictures.read(path, is_colour=True)
    except StudyRejected:
        return
    assert read.pixels.ndim in (3, 4)


def test_other_formats_are_not_tried(tmp_path: Path) -> None:
    Picture.fromarray(GREY).save(tmp_path / "a.gif")
    (tmp_path / "a.gif").rename(tmp_path / "a.png")
    with pytest.raises(StudyRejected, match="not a readable"):
        pictures.read(tmp_path / "a.png", is_colour=False)


def test_real_nuclei_are_opaque_and_some_are_in_colours() -> None:
    paths = sorted(public.shared("labelled", "seg2d_dsb2018_nuclei").glob("images/*.png"))[::10]
    outcomes = set()
    for path in paths:
        assert pictures.read(path, is_colour=True).pixels.shape[-1] == 3
        try:
            outcomes.add(pictures.read(path, is_colour=False).pixels.ndim)
        except StudyRejected as refused:
            outcomes.add(refused.sentence)
    assert outcomes == {3, "the picture has colours, a grey one is expected"}
