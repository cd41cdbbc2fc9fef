"""A file of a series that is known gets the header, or the refusal, that it gets by itself."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable

import pytest
from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from fuzz.checks import Held
from pipeline.dicom.headers.answers import Indexed
from pipeline.dicom.headers.common_files import CommonFiles
from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.headers.reading import HeaderReader, read_by_pydicom
from pipeline.dicom.headers.sizes import Declined
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.refusal import FileRefused
from pipeline.reasons import Reason
from tests.pipeline.dicom import made_series as series

_LIMITS = HeaderLimits()
#: of a slice whose elements have lengths of their own
_NUMBERS = (0, 8, 9, 98, 99, 1, 2, 3)


def _slice(number: int, syntax: str = ExplicitVRLittleEndian) -> Dataset:
    one = series.instance(number)
    one.file_meta.TransferSyntaxUID = syntax
    one.SpecificCharacterSet = "ISO_IR 100"
    one.AcquisitionTime, one.ProtocolName = f"10{number % 60:02d}00.5", "Kopf hoch"
    one.XRayTubeCurrent, one.TemporalPositionIdentifier = 9 + number, 1
    return one


def _encoded(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _answer(read: Callable[[], InstanceHeader]) -> InstanceHeader | Reason:
    try:
        return read()
    except FileRefused as refused:
        return refused.reason


def _other_way(data: bytes) -> InstanceHeader | Reason:
    return _answer(lambda: read_by_pydicom(Held(data), name="new", limits=_LIMITS, salt=b"salt"))


def _known(reader: CommonFiles, files: Iterable[bytes]) -> None:
    for number, data in enumerate(files):
        reader.read(Held(data), str(number))


def _put(keyword: str, value: object) -> Callable[[Dataset], None]:
    return lambda one: setattr(one, keyword, value)


def _raw(keyword: str, vr: str, value: bytes) -> Callable[[Dataset], None]:
    return lambda one: series.put_raw(one, keyword, vr, value)


def _without(keyword: str) -> Callable[[Dataset], None]:
    return lambda one: delattr(one, keyword)


def _other_number(one: Dataset) -> None:
    """Put another wanted element in the place of one whose length changes."""
    del one.InstanceNumber
    one.AcquisitionNumber = 7


_CHANGES: dict[str, Callable[[Dataset], None]] = {
    "nothing": lambda _: None,
    "slope": _put("RescaleSlope", 2),
    "patient": _put("PatientID", "P2"),
    "character set": _put("SpecificCharacterSet", "ISO_IR 192"),
    "text": _put("ProtocolName", "Kopf hö"),
    "no position": _without("ImagePositionPatient"),
    "no number": _without("InstanceNumber"),
    "other number": _other_number,
    "one more": _put("SpacingBetweenSlices", 4),
    "no tube": _without("XRayTubeCurrent"),
    "UID": _raw("SOPInstanceUID", "UI", b"1.2.x"),
    "no UID": _raw("SOPInstanceUID", "UI", b""),
    "series UID": _raw("SeriesInstanceUID", "UI", b"1.2.x"),
    "rows": _put("Rows", 7),
    "bits": _put("BitsAllocated", 8),
    "length": _put("PixelData", bytes(98)),
    "odd length": _put("PixelData", bytes(94)),
}


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("change", _CHANGES)
def test_a_change_is_seen(change: str, syntax: str) -> None:
    reader = HeaderReader(_LIMITS, b"salt")
    for number in _NUMBERS:
        reader.index(Held(_encoded(_slice(number, syntax))), "old")
    one = _slice(4, syntax)
    _CHANGES[change](one)
    data = _encoded(one)
    expected = _other_way(data)
    for _ in range(3):
        packed = _answer(lambda: reader.read(Held(data), "new"))
        assert packed == expected


def test_a_file_that_is_cut_is_left_to_the_other_way() -> None:
    reader = CommonFiles(_LIMITS, b"salt")
    _known(reader, (_encoded(_slice(number)) for number in _NUMBERS))
    data = _encoded(_slice(4))
    assert reader.read(Held(data), "new").packed
    for end in (*range(128, len(data), 7), len(data) - 1):
        with pytest.raises(Declined):
            reader.read(Held(data[:end]), "new")


def test_two_series_by_turns_keep_what_is_theirs() -> None:
    reader = HeaderReader(_LIMITS, b"salt")
    for number in _NUMBERS * 2:
        for uid, patient in (("1.2.3.1.1", "P1"), ("1.2.3.1.2", "P2")):
            one = _slice(number)
            one.SeriesInstanceUID, one.PatientID, one.SliceThickness = uid, patient, uid[-1]
            data = _encoded(one)
            indexed = reader.index(Held(data), "new")
            assert isinstance(indexed, Indexed)
            assert indexed.series_instance_uid == uid
            assert InstanceHeader.unpack(indexed.packed) == _other_way(data)
