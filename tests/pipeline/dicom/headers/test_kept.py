"""Kept headers come back as they were, for the very files that they were read from alone."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.headers.kept import KeptHeaders, keep
from pipeline.dicom.headers.reading import read_header
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.refusal import FileRefused
from pipeline.dicom.sources.folder import RegularFile
from pipeline.reasons import Reason
from tests.pipeline.dicom import made_series as series
from tests.pipeline.dicom.headers.any_headers import HEADERS

ANY = HeaderLimits(pixels=2**200)
SYNTAX = "1.2.840.10008.1.2.1"


def _readable(header: InstanceHeader) -> InstanceHeader:
    pixels = dataclasses.replace(header.pixels, is_deflated=False)
    return dataclasses.replace(header, pixels=pixels, transfer_syntax_uid=SYNTAX)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> RegularFile:
    path = tmp_path_factory.mktemp("kept") / "empty"
    path.touch()
    return RegularFile(path)


@settings(max_examples=25, deadline=None)
@given(headers=st.lists(HEADERS, max_size=4, unique_by=lambda header: header.path))
def test_any_headers_come_back_as_they_were(
    empty: RegularFile, headers: list[InstanceHeader]
) -> None:
    headers = [dataclasses.replace(_readable(header), size=0) for header in headers]
    kept = KeptHeaders.unpack(keep(headers, {header.path: empty.stamp for header in headers}))
    # NaN is not equal to itself; what it prints as is.
    assert repr([kept.of(empty, header.path, ANY) for header in headers]) == repr(headers)


@pytest.fixture
def stack(tmp_path: Path) -> tuple[Path, bytes]:
    """A folder of three slices, and what is kept of them."""
    series.write(tmp_path, series.stack(3))
    headers, stamps = [], {}
    for path in sorted(tmp_path.iterdir()):
        with RegularFile(path) as file:
            headers.append(read_header(file, name=path.name, limits=HeaderLimits()))
            stamps[path.name] = file.stamp
    return tmp_path, keep(headers, stamps)


def found(folder: Path, kept: bytes | None, limits: HeaderLimits = ANY) -> list[str]:
    """The names of the files whose headers need not be parsed."""
    headers = KeptHeaders.unpack(kept)
    names = []
    for path in sorted(folder.iterdir()):
        with RegularFile(path) as file:
            header = headers.of(file, path.name, limits)
            if header is not None:
                assert header == read_header(file, name=path.name, limits=HeaderLimits())
                names.append(path.name)
    return names


def test_the_headers_of_files_that_are_the_same_are_those_that_a_parser_finds(
    stack: tuple[Path, bytes],
) -> None:
    assert found(*stack) == ["0001.dcm", "0002.dcm", "0003.dcm"]
    assert len(stack[1]) < 1500


def test_a_file_without_a_stamp_is_not_kept(stack: tuple[Path, bytes]) -> None:
    folder, _ = stack
    with RegularFile(folder / "0001.dcm") as file:
        header = read_header(file, name="0001.dcm", limits=HeaderLimits())
        assert found(folder, keep([header], {})) == []
        assert found(folder, keep([header], {"0001.dcm": file.stamp})) == ["0001.dcm"]


def _of_another_version(kept: bytes) -> bytes:
    return bytes([kept[0] + 1]) + kept[1:]


def _cut(kept: bytes) -> bytes:
    return kept[:-20]


def _flipped(kept: bytes) -> bytes:
    return kept[:60] + bytes([kept[60] ^ 4]) + kept[61:]


def _without_a_field(kept: bytes) -> bytes:
    content = zlib.decompress(kept[5:]).replace(b'"rows"', b'"sorw"')
    return kept[:5] + zlib.compress(content)


@pytest.mark.parametrize("damage", [_of_another_version, _cut, _flipped, _without_a_field])
def test_what_cannot_be_unpacked_is_parsed(
    stack: tuple[Path, bytes], damage: Callable[[bytes], bytes]
) -> None:
    folder, kept = stack
    assert damage(kept) != kept
    assert found(folder, damage(kept)) == []


@settings(max_examples=30, deadline=None)
@given(content=st.recursive(st.none() | st.integers() | st.text(), st.lists) | st.binary())
def test_no_bytes_are_worse_than_none(content: object) -> None:
    form = keep([], {})[:5]
    raw = content if isinstance(content, bytes) else zlib.compress(repr(content).encode())
    KeptHeaders.unpack(form + raw)
    KeptHeaders.unpack(raw)


def test_nothing_kept_says_who_the_patient_is(tmp_path: Path) -> None:
    one = series.instance(0)
    one.PatientID, one.IssuerOfPatientID = "CANARY-17", "CANARY"
    series.write(tmp_path, [one])
    with RegularFile(tmp_path / "0001.dcm") as file:
        header = read_header(file, name="0001.dcm", limits=HeaderLimits(), salt=b"salt")
        kept = keep([header], {"0001.dcm": file.stamp})
    assert b"canary" not in zlib.decompress(kept[5:]).lower()
    assert b"0001.dcm" in zlib.decompress(kept[5:])


def test_more_pixels_than_a_read_allows_are_refused(stack: tuple[Path, bytes]) -> None:
    with pytest.raises(
        FileRefused, match="48 pixel values are more than the 47 allowed"
    ) as refused:
        found(*stack, HeaderLimits(pixels=47))
    assert refused.value.reason is Reason.PIXELS_TOO_LARGE


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"transfer_syntax_uid": "1.2.3"}, Reason.FILE_TRANSFER_SYNTAX), ({"deflated": True}, None)],
)
def test_what_each_read_has_to_judge_is_judged_again(
    stack: tuple[Path, bytes], change: dict[str, object], reason: Reason | None
) -> None:
    folder, _ = stack
    with RegularFile(folder / "0001.dcm") as file:
        header = read_header(file, name="0001.dcm", limits=HeaderLimits())
        if change.pop("deflated", None):
            change["pixels"] = dataclasses.replace(header.pixels, is_deflated=True)
        changed = dataclasses.replace(header, **change)  # type: ignore[arg-type]
        kept = KeptHeaders.unpack(keep([changed], {"0001.dcm": file.stamp}))
        if reason is None:
            assert kept.of(file, "0001.dcm", ANY) is None
        else:
            with pytest.raises(FileRefused) as refused:
                kept.of(file, "0001.dcm", ANY)
            assert refused.value.reason is reason
