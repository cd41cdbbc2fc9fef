"""What is learned of the elements that files of a series share."""

import struct

import pytest

from pipeline.dicom.headers.layouts import START, WANTED, Layout
from pipeline.dicom.headers.runs import Runs, Span
from pipeline.dicom.headers.sizes import size_of
from pipeline.dicom.headers.wanted import KEYS

_PIXELS = b"\xe0\x7f\x10\0OW\0\0\x60\0\0\0"


class _Heads:
    """Heads of short elements."""

    def __init__(self) -> None:
        self.known: dict[bytes, tuple[int, bytes]] = {}

    def entry(self, data: bytes, place: int, head: bytes) -> tuple[int, bytes]:
        tag = head[:4] if head[:4] in WANTED else b""
        return self.known.setdefault(head, (size_of(data, place), tag))


def _element(keyword: str, vr: bytes, value: bytes) -> bytes:
    return KEYS[keyword] + vr + struct.pack("<H", len(value)) + value


def _meta(syntax: bytes) -> bytes:
    return b"\2\0\0\0UL\4\0\0\0\0\0" + _element("TransferSyntaxUID", b"UI", syntax)


def _rest(number: int, kernel: bytes) -> bytes:
    return b"".join(
        (
            _element("Modality", b"CS", b"CT"),
            _element("ConvolutionKernel", b"SH", kernel),
            _element("InstanceNumber", b"IS", b"%02d" % number),
            _element("Rows", b"US", b"\2\0"),
        )
    )


_HEADS = _Heads()


def _learn(
    runs: Runs,
    series: bytes,
    kernel: bytes,
    files: int,
    *,
    syntax: bytes = b"1.2",
    pixels: bytes = _PIXELS,
) -> None:
    for number in range(files):
        meta, rest = bytes(START) + _meta(syntax), _rest(number, kernel)
        end = len(meta) + len(rest)
        spans = Span(_HEADS, START, len(meta)), Span(_HEADS, len(meta), end)
        runs.of(series).learn(meta + rest + pixels, *spans, end + len(pixels))


def _layout(runs: Runs, series: bytes) -> Layout:
    layout = runs.of(series).layout
    assert layout is not None
    return layout


def test_the_first_series_is_known_after_three_files() -> None:
    runs = Runs()
    _learn(runs, b"first", b"B31f", 2)
    assert not runs.of(b"first").by_head
    assert runs.of(b"first").layout is None
    _learn(runs, b"first", b"B31f", 1)
    (run,) = runs.of(b"first").by_head.values()
    assert run.size == len(_rest(0, b"B31f"))
    assert run.tags == (KEYS["InstanceNumber"],)
    assert run.held[KEYS["ConvolutionKernel"]] == b"B31f"


def test_a_layout_goes_from_the_meta_information_to_the_pixels() -> None:
    runs = Runs()
    _learn(runs, b"first", b"B31f", 3)
    layout = _layout(runs, b"first")
    assert layout.held[KEYS["TransferSyntaxUID"]] == b"1.2"
    assert layout.held[KEYS["Rows"]] == b"\2\0"
    assert layout.length == 0x60
    data = bytes(START) + _meta(b"1.2") + _rest(77, b"B31f") + _PIXELS
    along = layout.along(data)
    assert along is not None
    assert dict(zip(layout.tags, along[0], strict=True))[KEYS["InstanceNumber"]] == b"77"
    assert along[1] == len(data)
    assert all(layout.along(data[:end]) is None for end in range(START, len(data)))


def test_the_next_series_is_known_after_two_files_by_what_changed_in_the_one_before() -> None:
    runs = Runs()
    _learn(runs, b"first", b"B31f", 3)
    _learn(runs, b"second", b"B50s", 2)
    (run,) = runs.of(b"second").by_head.values()
    assert run.tags == (KEYS["InstanceNumber"],)
    assert run.held[KEYS["ConvolutionKernel"]] == b"B50s"


def test_a_guess_that_was_wrong_is_learned_from() -> None:
    runs = Runs()
    _learn(runs, b"first", b"B31f", 3)
    _learn(runs, b"second", b"B50s", 2)
    _learn(runs, b"second", b"B31f", 1)
    (run,) = runs.of(b"second").by_head.values()
    assert run.tags == (KEYS["ConvolutionKernel"], KEYS["InstanceNumber"])
    assert run.held == {KEYS["Modality"]: b"CT", KEYS["Rows"]: b"\2\0"}
    layout = _layout(runs, b"second")
    assert layout.tags[-2:] == run.tags
    assert not layout.held[KEYS["ConvolutionKernel"]]


def test_a_single_file_teaches_nothing() -> None:
    runs = Runs()
    _learn(runs, b"first", b"B31f", 3)
    _learn(runs, b"second", b"B50s", 1)
    assert not runs.of(b"second").by_head


@pytest.mark.parametrize("change", [{"syntax": b"1.3"}, {"pixels": _PIXELS[:8] + b"\x62\0\0\0"}])
def test_where_the_encoding_or_the_pixels_change_files_have_no_layout_in_common(
    change: dict[str, bytes],
) -> None:
    runs = Runs()
    _learn(runs, b"first", b"B31f", 3)
    _learn(runs, b"first", b"B31f", 1, **change)
    assert runs.of(b"first").layout is None
    assert runs.of(b"first").by_head


def test_what_a_file_far_behind_the_first_changes_is_learned_too() -> None:
    runs = Runs()
    _learn(runs, b"first", b"B31f", 10)
    _learn(runs, b"first", b"B50s", 1)
    assert KEYS["ConvolutionKernel"] in _layout(runs, b"first").tags


def test_files_that_teach_nothing_end_the_learning() -> None:
    runs = Runs()
    _learn(runs, b"first", b"B31f", 40)
    _learn(runs, b"first", b"B50s", 1)
    assert KEYS["ConvolutionKernel"] not in _layout(runs, b"first").tags
