"""Palettes in closed form: PS3.3 C.7.6.3.1.5, C.7.6.3.1.6 and C.7.9.2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import ImplicitVRLittleEndian

from pipeline.dicom.pixels.palette import palette_of
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason
from tests.pipeline.dicom import made_series as series

COLOURS = ("Red", "Green", "Blue")


def _plain(table: bytes, descriptor: list[int]) -> Dataset:
    dataset = Dataset()
    for colour in COLOURS:
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", descriptor)
        setattr(dataset, f"{colour}PaletteColorLookupTableData", table)
    return dataset


def _segmented(words: list[int], descriptor: list[int]) -> Dataset:
    dataset = _plain(b"", descriptor)
    table = np.array(words, "<u2" if descriptor[2] == 16 else "u1").tobytes()
    for colour in COLOURS:
        delattr(dataset, f"{colour}PaletteColorLookupTableData")
        setattr(dataset, f"Segmented{colour}PaletteColorLookupTableData", table)
    return dataset


def _reds(dataset: Dataset) -> list[int]:
    return [int(red) for red in palette_of(dataset, is_signed=False).colours[:, 0]]


def test_values_outside_the_table_take_its_nearest_end() -> None:
    palette = palette_of(_plain(bytes([10, 20, 30, 0]), [3, 100, 8]), is_signed=False)
    stored = np.array([0, 99, 100, 101, 102, 103, 65535], np.uint16)
    assert palette.apply(stored)[:, 0].tolist() == [10, 10, 10, 20, 30, 30, 30]


def test_the_first_value_shares_the_sign_of_the_pixels() -> None:
    palette = palette_of(_plain(bytes([10, 20, 30, 0]), [3, 65535, 8]), is_signed=True)
    assert palette.apply(np.array([-2, -1, 0, 1, 2], np.int16))[:, 0].tolist() == [
        *(10, 10, 20, 30, 30)
    ]


def test_no_entries_stated_are_65536() -> None:
    table = np.arange(65536, dtype="<u2").tobytes()
    assert _reds(_plain(table, [0, 0, 16]))[-1] == 255


def test_entries_of_8_bits_may_lie_in_words() -> None:
    assert _reds(_plain(np.array([1, 2, 3], "<u2").tobytes(), [3, 0, 8])) == [1, 2, 3]


def test_discrete_and_linear_segments_are_expanded() -> None:
    words = [0, 2, 0x1000, 0x2000, 1, 4, 0x6000]
    assert _reds(_segmented(words, [6, 0, 16])) == [0x10, 0x20, 0x30, 0x40, 0x50, 0x60]


def test_indirect_segments_are_copied() -> None:
    # discrete (5, 7), then both bytes of the offset of an indirect segment with one to copy
    words = [0, 2, 5, 7, 2, 1, 0, 0, 0, 0]
    assert _reds(_segmented(words, [4, 0, 8])) == [5, 7, 5, 7]


@pytest.mark.parametrize(
    ("words", "entries"),
    [
        ([0, 2, 5], 2),  # a segment that is cut
        ([1, 2, 5], 2),  # a line from nowhere
        ([3, 2, 5, 7], 2),  # no such kind
        ([0, 2, 5, 7], 3),  # too few entries
        ([0, 2, 5, 7, 1, 200, 9], 3),  # too many
        ([0, 2, 5, 7, 2, 1, 4, 0, 0, 0], 4),  # points at itself
        ([0, 2, 5, 7, 2, 1, 255, 255, 255, 255], 4),  # points outside
        ([0, 0], 2),  # no progress
    ],
)
def test_broken_segments_are_refused(words: list[int], entries: int) -> None:
    with pytest.raises(StudyRejected) as refused:
        palette_of(_segmented(words, [entries, 0, 8]), is_signed=False)
    assert refused.value.reason is Reason.PIXELS_PALETTE_INVALID


@pytest.mark.parametrize(
    ("table", "descriptor"),
    [
        (bytes(4), [256, 0, 8]),  # shorter than it says: CVE-2026-5445
        (bytes(600), [256, 0, 16]),
        (bytes(4), [4, 0, 12]),
        (b"", [4, 0, 8]),
    ],
)
def test_a_table_that_contradicts_its_descriptor_is_refused(
    table: bytes, descriptor: list[int]
) -> None:
    with pytest.raises(StudyRejected) as refused:
        palette_of(_plain(table, descriptor), is_signed=False)
    assert refused.value.reason is Reason.PIXELS_PALETTE_INVALID


def test_colours_with_different_descriptors_are_refused() -> None:
    dataset = _plain(bytes(4), [4, 0, 8])
    dataset.BluePaletteColorLookupTableDescriptor = [3, 0, 8]
    with pytest.raises(StudyRejected) as refused:
        palette_of(dataset, is_signed=False)
    assert refused.value.reason is Reason.PIXELS_PALETTE_INVALID


@pytest.mark.parametrize(
    "name",
    [
        "examples_palette.dcm",
        "OT-PAL-8-face.dcm",
        "gdcm-US-ALOKA-16.dcm",
        "gdcm-US-ALOKA-16_big.dcm",
    ],
)
def test_real_palettes_come_back_as_pydicom_has_them(name: str) -> None:
    path = Path(str(get_testdata_file(name)))
    dataset = dcmread(path, force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    expected = apply_color_lut(dataset.pixel_array, dataset)
    expected = expected >> 8 if expected.dtype == np.uint16 else expected
    np.testing.assert_array_equal(series.read_image(path).pixels[0], expected)
