"""The headers of one series as a scan found them, kept for the reads that follow.

A file of the size and stamp that the scan saw holds the header that the scan parsed; what differs
is parsed. What the slices of a series share is stored, and made, once: JSON, for the reasons that
``packing`` gives, compressed. No more stands in it than in a packed header: nothing of who the
patient is.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

from pipeline.dicom.headers import packing
from pipeline.dicom.headers.instance import FramePlace, InstanceHeader, PixelElement
from pipeline.dicom.headers.judging import check_count, check_decodable
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.sources.folder import RegularFile
from pipeline.dicom.sources.source import OpenFile

#: what the bytes begin with; another where other facts are kept
_FORM: Final = packing.form(
    3,
    (
        field.name
        for facts in (InstanceHeader, PixelElement, FramePlace)
        for field in dataclasses.fields(facts)
    ),
)
#: fastest: slices are so alike that more effort saves little
_LEVEL: Final = 1


def keep(headers: Sequence[InstanceHeader], stamps: Mapping[str, str]) -> bytes:
    """Return headers as bytes, about thirty for each slice of a usual series.

    Args:
        headers: of files in one source.
        stamps: by name, as they were before the headers were read; of those that have none here
            nothing is kept.

    """
    known = [header for header in headers if header.path in stamps]
    rows = [packing.plain(header) for header in known]
    columns = {name: [row[name] for row in rows] for name in packing.NAMES if rows}
    shared = {name: all(value == column[0] for value in column) for name, column in columns.items()}
    content = {
        "stamps": [stamps[header.path] for header in known],
        "shared": {name: column[0] for name, column in columns.items() if shared[name]},
        "own": {name: column for name, column in columns.items() if not shared[name]},
    }
    return _FORM + zlib.compress(json.dumps(content, separators=(",", ":")).encode(), _LEVEL)


class KeptHeaders:
    """Headers by the name of their file, for as long as the file is the same."""

    def __init__(self, headers: Mapping[str, tuple[str, InstanceHeader]]) -> None:
        """``headers``: (stamp, header) by name."""
        self._headers = headers

    @classmethod
    def unpack(cls, kept: bytes | None) -> Self:
        """Return what ``keep`` kept: nothing where that is of another version, or damaged."""
        if kept is None or not kept.startswith(_FORM):
            return cls({})
        try:
            return cls(_unpacked(json.loads(zlib.decompress(kept[len(_FORM) :]))))
        except (zlib.error, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return cls({})

    def of(self, file: OpenFile, name: str, limits: HeaderLimits) -> InstanceHeader | None:
        """Return the header of an open file, None where the file must be parsed.

        Raises:
            FileRefused: it states more than the limits of this read, or no decoder is installed.

        """
        stamp, header = self._headers.get(name, ("", None))
        if header is None or not isinstance(file, RegularFile):
            return None
        if (file.size, file.stamp) != (header.size, stamp) or header.pixels.is_deflated:
            return None  # what a deflated file inflates to is for each read to limit
        check_decodable(header.transfer_syntax_uid)
        check_count(header.rows * header.columns * header.frames * header.samples, limits)
        return header


def _unpacked(content: Mapping[str, Any]) -> dict[str, tuple[str, InstanceHeader]]:
    shared, own = packing.typed(_named(content["shared"])), _named(content["own"])
    headers = {}
    for stamp, *values in zip(content["stamps"], *own.values(), strict=True):
        varying = packing.typed(dict(zip(own, values, strict=True)))
        header = InstanceHeader(**shared, **varying)
        headers[header.path] = stamp, header
    return headers


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by the very names of the fields: equal ones take Python three times as long."""
    return {name: values[name] for name in packing.NAMES if name in values}
