"""What is learned of the elements that files of a series share."""

import struct

import pytest

from pipeline.dicom.headers.layouts import START, WANTED
from pipeline.dicom.headers.learning import Learned, Span
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
    """Return elements; without a kernel where it is empty."""
    return b"".join(
        (
            _element("Modality", b"CS", b"CT"),
            _element("ConvolutionKernel", b"SH", kernel) if kernel else b"",
            _element("InstanceNumber", b"IS", b"%02d" % number),
            _element("Rows", b"US", b"\2\0"),
        )
    )


_HEADS = _Heads()
_FIRST, _SECOND = (_element("SeriesInstanceUID", b"UI", uid) for uid in (b"1.2", b"1.2.3\0"))


def _learn(
    learned: Learned,
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
        learned.of(series).learn(meta + rest + pixels, *spans, end + len(pixels))


def _data(number: int, kernel: bytes) -> bytes:
    return bytes(START) + _meta(b"1.2") + _rest(number, kernel) + _PIXELS


def test_the_first_series_is_known_after_three_files() -> None:
    learned = Learned()
    _learn(learned, _FIRST, b"B31f", 2)
    assert not learned.of(_FIRST).layouts
    _learn(learned, _FIRST, b"B31f", 1)
    (layout,) = learned.of(_FIRST).layouts
    assert layout.tags == (KEYS["InstanceNumber"],)
    assert layout.held[KEYS["ConvolutionKernel"]] == b"B31f"


def test_a_layout_goes_from_the_meta_information_to_the_pixels() -> None:
    learned = Learned()
    _learn(learned, _FIRST, b"B31f", 3)
    (layout,) = learned.of(_FIRST).layouts
    assert layout.held[KEYS["TransferSyntaxUID"]] == b"1.2"
    assert layout.held[KEYS["Rows"]] == b"\2\0"
    data = _data(77, b"B31f")
    walked = layout.along(data)
    assert walked is not None
    assert walked.found[KEYS["InstanceNumber"]] == b"77"
    assert (walked.offset, walked.length) == (len(data), 0x60)
    assert all(layout.along(data[:end]) is None for end in range(START, len(data)))


def test_the_next_series_is_known_after_two_files_by_what_changed_in_the_one_before() -> None:
    learned = Learned()
    _learn(learned, _FIRST, b"B31f", 3)
    _learn(learned, _SECOND, b"B50s", 2)
    (layout,) = learned.of(_SECOND).layouts
    assert layout.tags == (KEYS["InstanceNumber"],)
    assert layout.held[KEYS["ConvolutionKernel"]] == b"B50s"


def test_a_guess_that_was_wrong_is_learned_from() -> None:
    learned = Learned()
    _learn(learned, _FIRST, b"B31f", 3)
    _learn(learned, _SECOND, b"B50s", 2)
    _learn(learned, _SECOND, b"B31f", 1)
    (layout,) = learned.of(_SECOND).layouts
    assert layout.tags == (KEYS["ConvolutionKernel"], KEYS["InstanceNumber"])
    assert layout.held[KEYS["Modality"]] == b"CT"
    assert not layout.held[KEYS["ConvolutionKernel"]]


def test_a_single_file_teaches_nothing() -> None:
    learned = Learned()
    _learn(learned, _FIRST, b"B31f", 3)
    _learn(learned, _SECOND, b"B50s", 1)
    assert not learned.of(_SECOND).layouts


def test_files_that_lack_an_element_have_a_layout_of_their_own() -> None:
    learned = Learned()
    for _ in range(3):
        _learn(learned, _FIRST, b"B31f", 2)
        _learn(learned, _FIRST, b"", 2)
    one, two = learned.of(_FIRST).layouts
    assert one.held[KEYS["ConvolutionKernel"]] != two.held[KEYS["ConvolutionKernel"]]
    for layout, other in ((one, two), (two, one)):
        kernel = layout.held[KEYS["ConvolutionKernel"]]
        assert layout.along(_data(5, kernel)) is not None
        assert other.along(_data(5, kernel)) is None


def test_a_series_of_many_kinds_is_learned_in_part() -> None:
    learned = Learned()
    keywords = sorted(KEYS.keys() - {"TransferSyntaxUID"})
    for keyword in (keywords[0], *keywords[:10], *keywords[:10]):
        meta = bytes(START) + _meta(b"1.2")
        rest = _element(keyword, b"LO", b"ab")
        end = len(meta) + len(rest)
        spans = Span(_HEADS, START, len(meta)), Span(_HEADS, len(meta), end)
        learned.of(_FIRST).learn(meta + rest + _PIXELS, *spans, end + len(_PIXELS))
    assert len(learned.of(_FIRST).layouts) == 4


@pytest.mark.parametrize("change", [{"syntax": b"1.3"}, {"pixels": _PIXELS[:8] + b"\x62\0\0\0"}])
def test_where_the_encoding_or_the_pixels_change_files_have_no_layout_in_common(
    change: dict[str, bytes],
) -> None:
    learned = Learned()
    _learn(learned, _FIRST, b"B31f", 3)
    assert learned.of(_FIRST).layouts
    _learn(learned, _FIRST, b"B31f", 1, **change)
    assert not learned.of(_FIRST).layouts


def test_what_a_file_far_behind_the_first_changes_is_learned_too() -> None:
    learned = Learned()
    _learn(learned, _FIRST, b"B31f", 10)
    _learn(learned, _FIRST, b"B50s", 1)
    (layout,) = learned.of(_FIRST).layouts
    assert KEYS["ConvolutionKernel"] in layout.tags


def test_files_that_teach_nothing_end_the_learning() -> None:
    learned = Learned()
    _learn(learned, _FIRST, b"B31f", 40)
    _learn(learned, _FIRST, b"B50s", 1)
    (layout,) = learned.of(_FIRST).layouts
    assert KEYS["ConvolutionKernel"] not in layout.tags


def test_a_series_is_found_again_wherever_a_file_states_it() -> None:
    learned = Learned()
    first, second = learned.of(_FIRST), learned.of(_SECOND)
    assert first is not second
    for before in (bytes(3), bytes(300), b"", bytes(90)):
        assert learned.of(before + _FIRST + b" \0\x10\0SH\2\0001 ") is first
        assert learned.of(before + _SECOND) is second
    none = learned.of(bytes(100))
    assert none not in (first, second)
    assert learned.of(_FIRST) is first
    assert learned.of(b"") is none
