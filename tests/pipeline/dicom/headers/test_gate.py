"""What a header states is bounded and named before a parser follows it."""

from __future__ import annotations

import dataclasses
import io
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.headers.reading import HeaderReader
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.refusal import FileRefused
from pipeline.dicom.sources.folder import RegularFile
from pipeline.reasons import Reason
from tests.pipeline.dicom import made_series as series

_OPEN = b"\xff\xff\xff\xff"
_ITEM = b"\xfe\xff\x00\xe0"
_END_OF_BOTH = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
#: of elements behind the UIDs of the made slices, by encoding
_PLACE = {False: b"\x20\x00\x11\x00IS", True: b"\x20\x00\x11\x00\x02\0\0\0"}
_SEQUENCE = {False: b"\x08\x00\x40\x11SQ\0\0", True: b"\x08\x00\x40\x11"}


def _encoded(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _open_sequences(depth: int, *, implicit: bool) -> bytes:
    return (_SEQUENCE[implicit] + _OPEN + _ITEM + _OPEN) * depth + _END_OF_BOTH * depth


def _sequences_with_lengths(depth: int, *, implicit: bool) -> bytes:
    nested = b""
    for _ in range(depth):
        item = _ITEM + struct.pack("<I", len(nested)) + nested
        nested = _SEQUENCE[implicit] + struct.pack("<I", len(item)) + item
    return nested


def _read(
    folder: Path, data: bytes, limits: HeaderLimits | None = None
) -> InstanceHeader | FileRefused:
    (folder / "x").write_bytes(data)
    try:
        with RegularFile(folder / "x") as file:
            return HeaderReader(limits or HeaderLimits()).read(file, "x")
    except FileRefused as refused:
        return refused


def _refused(folder: Path, data: bytes, limits: HeaderLimits | None = None) -> FileRefused:
    refused = _read(folder, data, limits)
    assert isinstance(refused, FileRefused)
    return refused


def _with(inserted: bytes, *, implicit: bool = False) -> bytes:
    one = series.instance(0)
    if implicit:
        one.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    data = _encoded(one)
    place = data.index(_PLACE[implicit])
    return data[:place] + inserted + data[place:]


def _uids(refused: FileRefused) -> tuple[str | None, ...]:
    return refused.study_instance_uid, refused.series_instance_uid, refused.sop_instance_uid


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("depth", [33, 500, 5000])
@pytest.mark.parametrize("nest", [_open_sequences, _sequences_with_lengths])
def test_deep_sequences_are_refused_by_name(
    tmp_path: Path,
    nest: Callable[..., bytes],
    depth: int,
    implicit: bool,  # noqa: FBT001
) -> None:
    data = _with(nest(depth, implicit=implicit), implicit=implicit)
    refused = _refused(tmp_path, data)
    assert refused.reason is Reason.FILE_TOO_NESTED
    assert _uids(refused) == (series.STUDY, series.SERIES, f"{series.SERIES}.1")


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("nest", [_open_sequences, _sequences_with_lengths])
def test_sequences_within_the_limit_are_read(
    tmp_path: Path,
    nest: Callable[..., bytes],
    implicit: bool,  # noqa: FBT001
) -> None:
    data = _with(nest(30, implicit=implicit), implicit=implicit)
    assert isinstance(_read(tmp_path, data), InstanceHeader)


def test_deep_sequences_in_an_element_of_unknown_vr_are_refused(tmp_path: Path) -> None:
    nested = _sequences_with_lengths(500, implicit=True)[8:]
    unknown = b"\x09\x00\x01\x10UN\0\0" + struct.pack("<I", len(nested)) + nested
    assert _refused(tmp_path, _with(unknown)).reason is Reason.FILE_TOO_NESTED


def test_a_private_sequence_of_unknown_vr_is_passed_over(tmp_path: Path) -> None:
    nested = _sequences_with_lengths(3, implicit=True)[8:]
    unknown = b"\x09\x00\x01\x10UN\0\0" + struct.pack("<I", len(nested)) + nested
    assert isinstance(_read(tmp_path, _with(unknown)), InstanceHeader)


@pytest.mark.parametrize("kind", ["elements", "items"])
def test_more_elements_or_items_than_allowed_are_refused(tmp_path: Path, kind: str) -> None:
    limits = HeaderLimits(**{kind: 1000})  # type: ignore[arg-type]
    many = b"\x09\x00\x01\x10UN\0\0" + _OPEN + (_ITEM + bytes(4)) * 1001 + _END_OF_BOTH[8:]
    refused = _refused(tmp_path, _with(many), limits)
    assert refused.reason is Reason.FILE_BAD_HEADER
    assert f"1000 {kind}" in refused.sentence


def test_an_element_longer_than_the_file_is_refused_before_memory_is_asked_for(
    tmp_path: Path,
) -> None:
    refused = _refused(tmp_path, _with(b"\x09\x00\x01\x10OB\0\0\xf0\xff\xff\xff"))
    assert refused.reason is Reason.FILE_TRUNCATED
    assert _uids(refused)[1] == series.SERIES


def test_a_sequence_without_an_end_is_refused(tmp_path: Path) -> None:
    refused = _refused(tmp_path, _with(_SEQUENCE[False] + _OPEN + _ITEM + _OPEN))
    assert refused.reason is Reason.FILE_BAD_HEADER


def test_a_sequence_whose_length_is_wrong_is_refused(tmp_path: Path) -> None:
    nested = _sequences_with_lengths(2, implicit=False)
    wrong = nested[:8] + struct.pack("<I", len(nested) + 5) + nested[12:]
    assert isinstance(_read(tmp_path, _with(wrong)), FileRefused)


@pytest.mark.parametrize("value", [b"\x06\0\0\0", b"\xff\xff\xff\x7f"])
def test_rows_of_a_wider_vr_hold_what_they_say(tmp_path: Path, value: bytes) -> None:
    one = series.instance(0)
    series.put_raw(one, "Rows", "UL", value)
    answer = _read(tmp_path, _encoded(one))
    if value[0] == 6:
        assert isinstance(answer, InstanceHeader)
        assert answer.rows == 6
    else:
        assert isinstance(answer, FileRefused)
        assert answer.reason is Reason.FILE_BAD_HEADER


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("NumberOfFrames", 2**31 - 1, Reason.PIXELS_TOO_LARGE),
        ("NumberOfFrames", 0, Reason.FILE_BAD_HEADER),
        ("Rows", 0, Reason.FILE_BAD_HEADER),
        ("BitsAllocated", 12, Reason.PIXELS_UNSUPPORTED),
        ("BitsAllocated", 64, Reason.PIXELS_UNSUPPORTED),
        ("SamplesPerPixel", 2, Reason.PIXELS_UNSUPPORTED),
        ("Columns", 9, Reason.PIXELS_LENGTH_MISMATCH),
    ],
)
def test_impossible_pixels_are_refused_with_the_series_they_belong_to(
    tmp_path: Path, keyword: str, value: int, reason: Reason
) -> None:
    one = series.instance(0)
    setattr(one, keyword, value)
    refused = _refused(tmp_path, _encoded(one))
    assert refused.reason is reason
    assert _uids(refused) == (series.STUDY, series.SERIES, f"{series.SERIES}.1")


@pytest.mark.parametrize(("kind", "bits"), [("Float", 32), ("DoubleFloat", 64)])
def test_floating_point_pixels_are_read(tmp_path: Path, kind: str, bits: int) -> None:
    one = series.instance(0)
    del one.PixelData, one.BitsStored, one.HighBit, one.PixelRepresentation
    one.BitsAllocated = bits
    count = series.ROWS * series.COLUMNS
    setattr(one, f"{kind}PixelData", bytes(count * bits // 8))
    header = _read(tmp_path, _encoded(one))
    assert isinstance(header, InstanceHeader)
    assert header.pixels.is_float
    assert (header.bits_allocated, header.bits_stored) == (bits, bits)


def _of_frames(offsets: list[int] | None) -> bytes:
    """Three frames of RLE whose fragments take 10 + 8 bytes each, and an offset table."""
    one = series.instance(0)
    one.NumberOfFrames = 3
    one.file_meta.TransferSyntaxUID = RLELossless
    table = b"" if offsets is None else struct.pack(f"<{len(offsets)}I", *offsets)
    fragments = encapsulate([bytes(10)] * 3, has_bot=False)[8:]
    one.PixelData = _ITEM + struct.pack("<I", len(table)) + table + fragments
    one["PixelData"].VR = "OB"
    return _encoded(one)


@pytest.mark.parametrize("offsets", [None, [0, 18, 36]])
def test_an_offset_table_that_points_at_frames_is_read(
    tmp_path: Path, offsets: list[int] | None
) -> None:
    assert isinstance(_read(tmp_path, _of_frames(offsets)), InstanceHeader)


@pytest.mark.parametrize(
    "offsets", [[0, 18], [0, 18, 37], [0, 36, 18], [18, 36, 54], [0, 18, 0x7FFFFFFF], [0, 0, 18]]
)
def test_an_offset_table_that_points_elsewhere_is_refused(
    tmp_path: Path, offsets: list[int]
) -> None:
    refused = _refused(tmp_path, _of_frames(offsets))
    assert refused.reason is Reason.FILE_BAD_HEADER
    assert "offset table" in refused.sentence


def test_big_endian_numbers_are_read_as_little_endian_ones(tmp_path: Path) -> None:
    one = series.instance(0)
    one.add_new(0x00280120, "SS", -2000)
    little = _read(tmp_path, _encoded(one))
    one.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    big = _read(tmp_path, _encoded(one))
    assert isinstance(little, InstanceHeader)
    assert isinstance(big, InstanceHeader)
    same = {"size": 0, "pixels": little.pixels, "transfer_syntax_uid": ""}
    assert dataclasses.replace(big, **same) == dataclasses.replace(little, **same)
    assert (big.padding, big.rows) == (-2000, series.ROWS)


@pytest.mark.parametrize("vr", ["US", "SS"])
def test_the_padding_value_has_the_sign_of_the_pixels(tmp_path: Path, vr: str) -> None:
    one = series.instance(0)
    series.put_raw(one, "PixelPaddingValue", vr, struct.pack("<h", -2000))
    signed = _read(tmp_path, _encoded(one))
    one.PixelRepresentation = 0
    unsigned = _read(tmp_path, _encoded(one))
    assert isinstance(signed, InstanceHeader)
    assert isinstance(unsigned, InstanceHeader)
    assert (signed.padding, unsigned.padding) == (-2000, 2**16 - 2000)


@pytest.mark.parametrize(("creator", "is_scout"), [("GEMS_ACQU_01", True), ("OTHER", False)])
def test_a_ge_scout_is_known_by_its_private_element(
    tmp_path: Path,
    creator: str,
    is_scout: bool,  # noqa: FBT001
) -> None:
    one = series.instance(0)
    one.private_block(0x0019, creator, create=True).add_new(0x17, "SS", 256)
    header = _read(tmp_path, _encoded(one))
    assert isinstance(header, InstanceHeader)
    assert header.is_ge_localizer is is_scout
