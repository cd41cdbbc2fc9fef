"""The walker finds what pydicom finds, in every file of pydicom's test set and of real scanners."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_files
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.headers.reading import HeaderReader, read_by_pydicom
from pipeline.dicom.headers.sizes import Declined, Short
from pipeline.dicom.headers.stated import Stated
from pipeline.dicom.headers.walker import KEYWORDS, Walker
from pipeline.dicom.headers.wanted import META, TAGS, VRS
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.refusal import FileRefused
from pipeline.dicom.sources.folder import RegularFile
from pipeline.reasons import Reason
from tests.data import shared

_LIMITS = HeaderLimits()
_PATHS = sorted(Path(name) for name in get_testdata_files("**/*"))
_FILES = [path for path in _PATHS if path.is_file()]
#: Kept as bits: PixelRepresentation says what they mean.
_SIGNED_AS_THE_PIXELS = {"PixelPaddingValue", "PixelPaddingRangeLimit"}


@pytest.fixture(autouse=True)
def _mute() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in the child process, where pydicom is mute
        yield


def _walked(data: bytes) -> tuple[Stated, int, int] | None:
    try:
        walked = Walker().walk(data)
    except (Declined, Short):
        return None
    values = {KEYWORDS[tag]: (VRS[KEYWORDS[tag]][0], value) for tag, value in walked.found.items()}
    stated = Stated({keyword: raw for keyword, raw in values.items() if raw[1]})
    return stated, walked.offset, walked.length


def _value(dataset: Dataset, keyword: str) -> Any:
    home = dataset.file_meta if keyword in META else dataset
    return home[TAGS[keyword]].value if TAGS[keyword] in home else None


def _listed(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, MultiValue | list | tuple) else [value]


def _check_text(keyword: str, stated: Stated, value: Any) -> None:
    expected = tuple("".join(c for c in str(v) if c.isprintable()).strip() for v in _listed(value))
    if any(expected):
        assert stated.texts(keyword) == tuple(text[:64] for text in expected), keyword
    else:
        assert stated.texts(keyword) == (), keyword


def _check_numbers(keyword: str, stated: Stated, value: Any) -> None:
    expected = [_float(v) for v in _listed(value)]
    numbers = stated.numbers(keyword, len(expected) or 1)
    if not expected:
        assert numbers is None, keyword
        return
    assert numbers is not None, keyword
    for ours, theirs in zip(numbers, expected, strict=True):
        if not abs(theirs) <= 1e12:
            assert math.isnan(ours), keyword
        elif keyword in _SIGNED_AS_THE_PIXELS:
            assert (ours - theirs) % 2**16 == 0, keyword
        else:
            assert ours == theirs, keyword


def _float(value: Any) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan


def _compare(path: Path) -> None:
    """Compare every wanted element and the place of the pixels, where the walker accepts."""
    walked = _walked(path.read_bytes())
    if walked is None:
        return
    stated, offset, length = walked
    dataset = dcmread(path, force=True)
    element = dataset.get_item(0x7FE00010)  # before pydicom converts it
    if element is None:  # compressed pixels without an end: pydicom returns nothing at all
        assert _in_one_way(path)[0] == Reason.FILE_TRUNCATED
        return
    assert isinstance(element, RawDataElement)
    assert (offset, length) == (element.value_tell, element.length)
    for keyword in TAGS:
        value = _value(dataset, keyword)
        if VRS[keyword][0] in ("DS", "IS", "US", "FD", "FL", "SS"):
            _check_numbers(keyword, stated, value)
        if keyword not in _SIGNED_AS_THE_PIXELS:
            _check_text(keyword, stated, value)


def test_the_walker_accepts_the_common_kind() -> None:
    assert len(_FILES) > 150
    assert sum(_walked(path.read_bytes()) is not None for path in _FILES) > 60


@pytest.mark.parametrize("path", _FILES, ids=lambda path: "/".join(path.parts[-3:]))
def test_a_file_of_pydicom_says_the_same_in_both_ways(path: Path) -> None:
    _compare(path)
    assert _in_one_way(path) == _in_other_way(path)


@pytest.mark.parametrize(
    "folder",
    [
        *("codecs_wg04_a", "cr_chest_philips", "ct_chest_lidc0314", "ct_phantom_philips_mixed"),
        *("enhanced_multiframe", "mr_brain_pgbm003", "mr_cardiac_cine", "odd_files_a"),
        *("odd_geometry_a", "seg_ct_dcmqi", "us_mixed_a"),
    ],
)
def test_real_files_say_the_same_in_both_ways(folder: str) -> None:
    files = [path for path in sorted(shared("dicom", folder).rglob("*")) if path.is_file()]
    reader = HeaderReader(_LIMITS, b"salt")
    for path in files:
        _compare(path)
        assert _in_one_way(path, reader) == _in_other_way(path), path


def _in_one_way(path: Path, reader: HeaderReader | None = None) -> tuple[str, ...]:
    reader = reader or HeaderReader(_LIMITS, b"salt")
    try:
        with RegularFile(path) as file:
            indexed = reader.index(file, "x")
            read = reader.read(file, "x")
    except FileRefused as refused:
        return _refusal(refused)
    header = InstanceHeader.unpack(indexed.packed)
    assert repr(header) == repr(read)  # NaN is not equal to itself, its text is
    uids = (header.study_instance_uid, header.series_instance_uid, header.sop_instance_uid)
    assert indexed[:3] == uids
    return (repr(header),)


def _in_other_way(path: Path) -> tuple[str, ...]:
    try:
        with RegularFile(path) as file:
            header = read_by_pydicom(file, name="x", limits=_LIMITS, salt=b"salt")
    except FileRefused as refused:
        return _refusal(refused)
    assert repr(InstanceHeader.unpack(header.pack())) == repr(header)
    return (repr(header),)


def _refusal(refused: FileRefused) -> tuple[str, ...]:
    uids = (refused.study_instance_uid, refused.series_instance_uid, refused.sop_instance_uid)
    return (refused.reason, refused.sentence, repr(uids))
