"""A header survives being packed; damaged bytes are a ValueError or a header, and nothing else."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.dicom.headers.answers import Answer, Indexed, Refusal, decode, encode
from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.headers.reading import HeaderReader, read_by_pydicom
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.sources.folder import RegularFile
from pipeline.reasons import Reason
from tests.pipeline.dicom import made_series as series
from tests.pipeline.dicom.headers.any_headers import HEADERS, TEXT, UID


@settings(max_examples=100, deadline=None)
@given(header=HEADERS)
def test_any_header_comes_back_as_it_was(header: InstanceHeader) -> None:
    # NaN is not equal to itself; what it prints as is.
    assert repr(InstanceHeader.unpack(header.pack())) == repr(header)


@pytest.fixture
def indexed(tmp_path: Path) -> Indexed:
    series.write(tmp_path, [series.instance(0)])
    with RegularFile(tmp_path / "0001.dcm") as file:
        return HeaderReader(HeaderLimits(), b"salt").index(file, "folder/0001.dcm")


def test_what_the_walker_packs_is_the_header_of_the_other_way(
    indexed: Indexed, tmp_path: Path
) -> None:
    with RegularFile(tmp_path / "0001.dcm") as file:
        header = read_by_pydicom(file, name="folder/0001.dcm", limits=HeaderLimits(), salt=b"salt")
    assert InstanceHeader.unpack(indexed.packed) == header
    assert InstanceHeader.unpack(header.pack()) == header


def test_nothing_packed_says_who_the_patient_is(tmp_path: Path) -> None:
    slices = [series.instance(0), series.instance(1)]
    slices[0].PatientID = slices[1].PatientID = "CANARY-17"
    slices[0].IssuerOfPatientID = slices[1].IssuerOfPatientID = "CANARY"
    series.write(tmp_path, slices)
    reader = HeaderReader(HeaderLimits(), b"salt")
    for name in ("0001.dcm", "0002.dcm"):
        with RegularFile(tmp_path / name) as file:
            packed = reader.index(file, name).packed
            assert b"CANARY" not in packed
            assert b"Canary" not in packed
            assert b"CANARY" not in InstanceHeader.unpack(packed).pack()


def test_a_packed_header_is_small(indexed: Indexed) -> None:
    assert len(indexed.packed) < 1000


@pytest.mark.parametrize("packed", [b"", b"\0", b"\1", b"\1[]", b"\1{", b"\2abc", b"\xff" * 900])
def test_what_is_no_packed_header_is_named(packed: bytes) -> None:
    with pytest.raises(ValueError, match="packed header"):
        InstanceHeader.unpack(packed)


def test_a_packed_header_that_is_cut_is_damaged(indexed: Indexed) -> None:
    for packed in (indexed.packed, InstanceHeader.unpack(indexed.packed).pack()):
        with pytest.raises(ValueError, match="damaged"):
            InstanceHeader.unpack(packed[:50])


def test_what_the_walker_packs_is_neither_cut_nor_longer(indexed: Indexed) -> None:
    for packed in (*(indexed.packed[:end] for end in range(5, 900, 7)), indexed.packed + b"x"):
        if packed != indexed.packed:
            with pytest.raises(ValueError, match="damaged"):
                InstanceHeader.unpack(packed)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_bytes_are_no_header_or_another(indexed: Indexed, data: st.DataObject) -> None:
    sound = indexed
    packed = bytearray(sound.packed if data.draw(st.booleans()) else encode([sound]))
    is_message = len(packed) != len(sound.packed)
    for _ in range(data.draw(st.integers(1, 5))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        list(decode(bytes(packed))) if is_message else InstanceHeader.unpack(bytes(packed))


_ANSWERS = st.builds(Indexed, UID, UID, UID, st.binary(max_size=2000)) | st.builds(
    Refusal,
    reason=st.sampled_from(Reason),
    sentence=TEXT,
    study_instance_uid=st.none() | UID,
    series_instance_uid=st.none() | UID,
    sop_instance_uid=st.none() | UID,
)


@given(answers=st.lists(_ANSWERS, max_size=5))
def test_answers_come_through_as_they_were_sent(answers: list[Answer]) -> None:
    assert list(decode(encode(answers))) == answers


@given(answers=st.lists(_ANSWERS, min_size=1, max_size=3), data=st.data())
def test_a_message_that_is_cut_is_no_message(answers: list[Answer], data: st.DataObject) -> None:
    message = encode(answers)
    ends = {len(encode(answers[:count])) for count in range(len(answers))}
    end = data.draw(st.integers(1, len(message) - 1).filter(lambda at: at not in ends))
    with pytest.raises(ValueError, match=r"cut short|not a valid Reason"):
        list(decode(message[:end]))
