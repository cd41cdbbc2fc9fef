"""What is learned of the elements that files of a series share."""

import struct

from pipeline.dicom.headers.runs import Runs
from pipeline.dicom.headers.sizes import size_of
from pipeline.dicom.headers.wanted import KEYS


def _element(keyword: str, vr: bytes, value: bytes) -> bytes:
    return KEYS[keyword] + vr + struct.pack("<H", len(value)) + value


def _file(number: int, kernel: bytes) -> bytes:
    return b"".join(
        (
            _element("Modality", b"CS", b"CT"),
            _element("ConvolutionKernel", b"SH", kernel),
            _element("InstanceNumber", b"IS", b"%02d" % number),
            _element("Rows", b"US", b"\2\0"),
        )
    )


def _runs() -> Runs:
    files = [_file(number, kernel) for number in range(9) for kernel in (b"B31f", b"B50s")]
    heads: dict[bytes, tuple[int, bytes]] = {}
    for data in files:
        place = 0
        while place < len(data):
            size = size_of(data, place)
            heads[data[place : place + 8]] = size, data[place : place + 4]
            place += size
    return Runs(size_of, heads)


def _learn(runs: Runs, series: bytes, kernel: bytes, files: int) -> None:
    for number in range(files):
        data = _file(number, kernel)
        runs.of(series).learn(data, 0, len(data))


def test_the_first_series_is_known_after_three_files() -> None:
    runs = _runs()
    _learn(runs, b"first", b"B31f", 2)
    assert not runs.of(b"first").by_head
    _learn(runs, b"first", b"B31f", 1)
    (run,) = runs.of(b"first").by_head.values()
    assert run.size == len(_file(0, b"B31f"))
    assert run.tags == (KEYS["InstanceNumber"],)
    assert run.held[KEYS["ConvolutionKernel"]] == b"B31f"


def test_the_next_series_is_known_after_two_files_by_what_changed_in_the_one_before() -> None:
    runs = _runs()
    _learn(runs, b"first", b"B31f", 3)
    _learn(runs, b"second", b"B50s", 2)
    (run,) = runs.of(b"second").by_head.values()
    assert run.tags == (KEYS["InstanceNumber"],)
    assert run.held[KEYS["ConvolutionKernel"]] == b"B50s"


def test_a_guess_that_was_wrong_is_learned_from() -> None:
    runs = _runs()
    _learn(runs, b"first", b"B31f", 3)
    _learn(runs, b"second", b"B50s", 2)
    _learn(runs, b"second", b"B31f", 1)
    (run,) = runs.of(b"second").by_head.values()
    assert run.tags == (KEYS["ConvolutionKernel"], KEYS["InstanceNumber"])
    assert run.held == {KEYS["Modality"]: b"CT", KEYS["Rows"]: b"\2\0"}


def test_a_single_file_teaches_nothing() -> None:
    runs = _runs()
    _learn(runs, b"first", b"B31f", 3)
    _learn(runs, b"second", b"B50s", 1)
    assert not runs.of(b"second").by_head
