"""What fuzzing has found, and a few inputs of each kind: `python -m fuzz` makes many more."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator

import pytest
from pydicom import dcmwrite

from fuzz import inputs
from fuzz.checks import Checker
from tests.pipeline.dicom import made_series as series


@pytest.fixture(autouse=True)
def _mute() -> Iterator[None]:
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in the child process, where pydicom is mute
        yield
    logging.disable(level)


def _encoded() -> bytes:
    one = series.instance(0)
    one.SpecificCharacterSet, one.SeriesDescription = "ISO_IR 100", "Sch\u00e4del"
    buffer = io.BytesIO()
    dcmwrite(buffer, one, enforce_file_format=True)
    return buffer.getvalue()


def test_a_character_set_with_a_zero_in_its_name() -> None:
    data = _encoded().replace(b"ISO_IR 100", b"ISO\0IR 100")
    Checker().check(data, 0)


def test_two_character_sets_the_first_of_which_cannot_be_read() -> None:
    data = _encoded()
    sound = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100"
    Checker().check(data.replace(sound, sound[:8] + b"ISO\0IR 100" + sound), 0)


def test_a_little_endian_header_that_begins_with_a_high_group() -> None:
    place = (data := _encoded()).index(b"\x08\x00\x05\x00CS")
    assert Checker().check(data[:place] + b"\x02\x18\x13\x00SH\x02\0AB" + data[place:], 0)


def test_a_length_of_the_meta_information_that_is_no_number() -> None:
    data = _encoded()
    Checker().check(data[:138] + b"\x06\0" + b"-1e308" + data[144:], 0)


def test_a_header_that_ends_in_the_head_of_its_series() -> None:
    head = b"\x20\x00\x0e\x00UI"
    data = _encoded()
    for end in range(len(head) + 3):
        Checker().check(data[: data.index(head) + end], 0)


def test_many_inputs_hold_no_surprise() -> None:
    checker = Checker()
    images = sum(checker.check(inputs.make(3, number), number) for number in range(150))
    assert images > 10
