"""Tell a copy of an instance from another image that claims its SOPInstanceUID."""

from __future__ import annotations

import dataclasses
from typing import Final

from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.refusal import FileRefused
from pipeline.dicom.sources.source import Source

#: What may differ between two encodings of one instance.
_ENCODING: Final = {"path", "size", "transfer_syntax_uid", "pixels", "photometric"}
_BLOCK: Final = 1 << 20


def is_copy(one: InstanceHeader, other: InstanceHeader, source: Source) -> bool:
    """Say whether two files hold one instance: the same facts, and the same pixels.

    Pixels are compared where both are encoded alike; another encoding of the same facts counts
    as a copy. Where either file cannot be read any more it does not.
    """
    facts = (
        (getattr(one, f.name), getattr(other, f.name))
        for f in dataclasses.fields(InstanceHeader)
        if f.name not in _ENCODING
    )
    # repr, because NaN is not equal to itself
    if any(repr(mine) != repr(theirs) for mine, theirs in facts):
        return False
    if one.transfer_syntax_uid != other.transfer_syntax_uid or one.pixels.is_deflated:
        return True
    try:
        return _have_same_pixels(one, other, source)
    except (OSError, FileRefused):
        return False


def _have_same_pixels(one: InstanceHeader, other: InstanceHeader, source: Source) -> bool:
    with source.open(one.path) as mine, source.open(other.path) as theirs:
        length = one.pixels.length
        if length != other.pixels.length:
            return False
        end = mine.size - one.pixels.offset if length is None else length
        return all(
            mine.read_at(one.pixels.offset + place, _BLOCK)
            == theirs.read_at(other.pixels.offset + place, _BLOCK)
            for place in range(0, end, _BLOCK)
        )
