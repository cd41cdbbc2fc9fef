"""Keep each SOPInstanceUID once; where two files disagree on what it is, keep neither."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.headers.process import Refusal
from pipeline.dicom.refusal import FileRefused
from pipeline.dicom.sources.opening import open_source
from pipeline.reasons import Reason

#: What may differ between two encodings of one instance.
_ENCODING: Final = {"path", "size", "transfer_syntax_uid", "pixels", "photometric"}
_BLOCK: Final = 1 << 20


def part(
    headers: Sequence[InstanceHeader], address: str
) -> tuple[list[InstanceHeader], list[tuple[InstanceHeader, Refusal]]]:
    """Return (headers to use, headers refused with the reason), both sorted by path.

    A second file with the same facts and, where both are encoded alike, the same pixels is a
    copy: the first by path is kept. Otherwise two images claim one identity and both are
    refused, and their series must not be read as if it were whole: those refusals name it.
    """
    by_uid: dict[str, list[InstanceHeader]] = defaultdict(list)
    for header in sorted(headers, key=lambda h: h.path):
        by_uid[header.sop_instance_uid].append(header)
    kept: list[InstanceHeader] = []
    refused: list[tuple[InstanceHeader, Refusal]] = []
    for first, *others in by_uid.values():
        if all(_is_copy(first, other, address) for other in others):
            kept.append(first)
            refused.extend((other, _copy_of(other)) for other in others)
        else:
            refused.extend((header, _conflict_of(header)) for header in (first, *others))
    return kept, refused


def _copy_of(header: InstanceHeader) -> Refusal:
    return Refusal(
        reason=Reason.FILE_DUPLICATE,
        sentence="another file holds the same instance",
        sop_instance_uid=header.sop_instance_uid,
    )


def _conflict_of(header: InstanceHeader) -> Refusal:
    return Refusal(
        reason=Reason.FILE_DUPLICATE,
        sentence="another file claims the same SOPInstanceUID for other content; none is used",
        series_instance_uid=header.series_instance_uid,
        sop_instance_uid=header.sop_instance_uid,
    )


def _is_copy(one: InstanceHeader, other: InstanceHeader, address: str) -> bool:
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
        return _have_same_pixels(one, other, address)
    except (OSError, FileRefused):
        return False


def _have_same_pixels(one: InstanceHeader, other: InstanceHeader, address: str) -> bool:
    source = open_source(address)
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
