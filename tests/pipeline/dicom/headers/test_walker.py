"""The walker takes common files, declines the others, and never answers from what it remembers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from pipeline.dicom.headers.common_files import CommonFiles
from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.headers.layouts import Walked
from pipeline.dicom.headers.reading import read_by_pydicom
from pipeline.dicom.headers.sizes import Declined, Short
from pipeline.dicom.headers.walker import Walker
from pipeline.dicom.headers.wanted import KEYS
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.sources.folder import RegularFile
from tests.pipeline.dicom import made_series as series


def _encoded(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _nested(depth: int) -> Dataset:
    dataset = Dataset()
    dataset.CodeValue = "inner"
    for _ in range(depth):
        outer = Dataset()
        outer.PurposeOfReferenceCodeSequence = [dataset]
        dataset = outer
    return dataset


def _content(walked: Walked) -> tuple[dict[bytes, bytes], int, int]:
    return walked.found, walked.offset, walked.length


def _accepts(data: bytes) -> bool:
    try:
        Walker().walk(data)
    except Declined:
        return False
    return True


def test_it_finds_raw_values_and_the_pixels() -> None:
    data = _encoded(series.instance(2))
    walked = Walker().walk(data)
    found = walked.found
    assert found[KEYS["SOPInstanceUID"]].rstrip(b"\0") == b"1.2.3.1.1.3"
    assert found[KEYS["ImagePositionPatient"]].rstrip() == b"10.0\\20.0\\40.0"
    assert found[KEYS["Rows"]] == b"\x06\0"
    assert found[KEYS["Units"]] == b""
    assert data[walked.offset : walked.offset + walked.length] == series.pixels(2).tobytes()


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_it_declines_other_encodings(tmp_path: Path, syntax: str) -> None:
    one = series.instance(0)
    one.file_meta.TransferSyntaxUID = syntax
    (tmp_path / "x").write_bytes(_encoded(one))
    with RegularFile(tmp_path / "x") as file, pytest.raises(Declined):
        CommonFiles(HeaderLimits(), b"").read(file, "x")


def _implicit(dataset: Dataset) -> bytes:
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return _encoded(dataset)


def test_it_finds_the_same_where_no_vrs_are_stated() -> None:
    one = series.instance(2)
    explicit = Walker().walk(_encoded(one)).found
    one.ReferencedImageSequence = [_nested(3), Dataset()]
    one.private_block(0x0011, "TEST", create=True).add_new(1, "SQ", [_nested(1)])
    data = _implicit(one)
    walked = Walker().walk(data)
    syntax = {KEYS["TransferSyntaxUID"]: b""}
    assert walked.found | syntax == explicit | syntax
    assert data[walked.offset : walked.offset + walked.length] == series.pixels(2).tobytes()


@pytest.mark.parametrize("items", [16, 17])
def test_of_sequences_without_vrs_it_takes_those_that_cannot_be_deep(items: int) -> None:
    one = series.instance(0)
    one.ReferencedImageSequence = [Dataset() for _ in range(items)]
    assert _accepts(_implicit(one)) is (items == 16)


def test_it_declines_a_file_that_states_vrs_and_says_that_it_does_not() -> None:
    data = _encoded(series.instance(0))
    syntax = b"UI\x14\x001.2.840.10008.1.2.1\0"
    assert not _accepts(data.replace(syntax, b"UI\x14\x001.2.840.10008.1.2\0\0\0"))


def test_it_declines_a_file_without_preamble() -> None:
    assert _accepts(_encoded(series.instance(0)))
    assert not _accepts(_encoded(series.instance(0))[132:])


@pytest.mark.parametrize("is_open", [False, True])
def test_sequences_are_passed_over_with_and_without_length(is_open: bool) -> None:  # noqa: FBT001
    one = series.instance(0)
    one.ReferencedImageSequence = [_nested(3), Dataset(), _nested(1)]
    one["ReferencedImageSequence"].is_undefined_length = is_open
    for item in one.ReferencedImageSequence:
        item.is_undefined_length_sequence_item = is_open
    walked = Walker().walk(data := _encoded(one))
    assert walked.found[KEYS["Columns"]] == b"\x08\0"
    assert data[walked.offset :] == series.pixels(0).tobytes()


@pytest.mark.parametrize("depth", [20, 200])
def test_it_declines_deep_sequences_also_where_they_have_lengths(depth: int) -> None:
    one = series.instance(0)
    one.ReferencedImageSequence = [_nested(depth)]
    assert not _accepts(_encoded(one))


@pytest.mark.parametrize("vr", ["UL", "LO", "SH"])
def test_it_declines_a_wanted_element_of_another_vr(vr: str) -> None:
    one = series.instance(0)
    series.put_raw(one, "Rows", vr, b"\x06\0\0\0")
    assert not _accepts(_encoded(one))


def test_a_header_longer_than_the_bytes_given_asks_for_more() -> None:
    data = _encoded(series.instance(0))
    offset = Walker().walk(data).offset
    for end in range(140, offset):
        with pytest.raises(Short) as short:
            Walker().walk(data[:end])
        assert short.value.needed > end


def test_a_long_header_is_read_in_steps(tmp_path: Path) -> None:
    one = series.instance(0)
    block = one.private_block(0x0011, "TEST", create=True)
    for number in range(40):
        block.add_new(number, "OB", bytes(5000))
    (tmp_path / "x").write_bytes(_encoded(one))
    with RegularFile(tmp_path / "x") as file:
        packed = CommonFiles(HeaderLimits(), b"").read(file, "x").packed
        other = read_by_pydicom(file, name="x", limits=HeaderLimits())
    assert InstanceHeader.unpack(packed) == other


def test_compressed_pixels_are_taken_where_their_fragments_are_whole(tmp_path: Path) -> None:
    one = series.instance(0)
    one.compress(RLELossless, generate_instance_uid=False)
    data = _encoded(one)
    common = CommonFiles(HeaderLimits(), b"")
    (tmp_path / "whole").write_bytes(data)
    (tmp_path / "cut").write_bytes(data[:-8])
    with RegularFile(tmp_path / "whole") as file:
        packed = common.read(file, "whole").packed
    assert InstanceHeader.unpack(packed).pixels.length is None
    with RegularFile(tmp_path / "cut") as file, pytest.raises(Declined):
        common.read(file, "cut")


_CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "SeriesInstanceUID": st.sampled_from(["1.2.3.1.1", "1.2.3.1.2"]),
    "SeriesDescription": st.sampled_from(["thorax", "abdomen", ""]),
    "SliceThickness": st.sampled_from(["1", "1.25", "10"]),
    "ImagePositionPatient": st.tuples(*[st.integers(-999, 999)] * 3).map(list),
    "KVP": st.sampled_from(["80", "120", None]),
    "Columns": st.sampled_from([8, 8, 8, 4]),
    "PatientID": st.sampled_from(["P1", "P2"]),
}


@settings(max_examples=60, deadline=None)
@given(
    changes=st.lists(st.fixed_dictionaries({}, optional=_CHANGES), min_size=2, max_size=25),
    is_implicit=st.booleans(),
)
def test_what_was_walked_before_changes_nothing(
    changes: list[dict[str, Any]], *, is_implicit: bool
) -> None:
    warm = Walker()
    for number, change in enumerate(changes):
        one = series.instance(number)
        one.StudyDate, one.ConvolutionKernel, one.GantryDetectorTilt = "20240102", "B31f", "0"
        one.ReferencedImageSequence = [_nested(1)]
        for keyword, value in change.items():
            setattr(one, keyword, value)
        data = _implicit(one) if is_implicit else _encoded(one)
        assert _content(warm.walk(data)) == _content(Walker().walk(data))


def test_a_run_that_is_cut_at_the_end_is_not_taken_for_whole() -> None:
    warm = Walker()
    for number in range(6):
        data = _encoded(series.instance(number))
        offset = warm.walk(data).offset
    for end in range(140, offset):
        with pytest.raises(Short):
            warm.walk(data[:end])


def _with_code(number: int) -> bytes:
    code = Dataset()
    code.CodeValue = f"inner {number:02d}"
    one = series.instance(number)
    one.ReferencedImageSequence = [code]
    return _encoded(one)


def test_a_sequence_whose_content_changes_is_walked_in_every_file() -> None:
    warm = Walker()
    for number in range(8):
        warm.walk(_with_code(number))
    data = _with_code(8)
    place = data.index(b"inner ")
    beyond_its_item = data[: place - 2] + b"\x18\0" + data[place:]
    for walker in (Walker(), warm):
        with pytest.raises(Declined):
            walker.walk(beyond_its_item)


def test_of_an_element_that_comes_twice_the_second_counts_also_in_a_series_known() -> None:
    warm = Walker()
    for number in range(8):
        data = _encoded(series.instance(number))
        place = data.index(KEYS["Rows"])
        twice = data[:place] + KEYS["Rows"] + b"US\2\0" + bytes([number, 0]) + data[place:]
        assert warm.walk(twice).found[KEYS["Rows"]] == b"\6\0"


def _with_second_character_set(data: bytes, before: str) -> bytes:
    place = data.index(KEYS[before])
    return data[:place] + KEYS["SpecificCharacterSet"] + b"CS\x0a\0ISO_IR 192" + data[place:]


@pytest.mark.parametrize("before", ["SpecificCharacterSet", "SOPClassUID", "Rows"])
@pytest.mark.parametrize("others", [[], ["ISO_IR 100"], ["ISO_IR 100", "ISO_IR 101"]])
def test_it_declines_a_second_character_set_also_in_a_series_known(
    others: list[str], before: str
) -> None:
    warm = Walker()
    files = 8 if others else 0
    for number in range(files):
        one = series.instance(number)
        one.SpecificCharacterSet = others[number % len(others)]
        warm.walk(_encoded(one))
    one = series.instance(files)
    one.SpecificCharacterSet = "ISO_IR 100"
    data = _encoded(one)
    assert warm.walk(data).found[KEYS["SpecificCharacterSet"]] == b"ISO_IR 100"
    with pytest.raises(Declined):
        warm.walk(_with_second_character_set(data, before))


@pytest.mark.parametrize("files", [0, 8])
def test_it_declines_a_character_set_in_an_item_also_in_a_series_known(files: int) -> None:
    warm = Walker()
    for number in range(files):
        one = series.instance(number)
        one.RequestAttributesSequence = [_nested(1)]
        warm.walk(_encoded(one))
    one = series.instance(files)
    item = Dataset()
    item.SpecificCharacterSet = "ISO_IR 192"
    one.RequestAttributesSequence = [item]
    with pytest.raises(Declined):
        warm.walk(_encoded(one))
