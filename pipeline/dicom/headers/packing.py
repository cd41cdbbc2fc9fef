"""Headers as bytes: for the way out of a reader, and for the index of a scan on disk.

JSON behind a version byte. Not pickle, which runs code of whoever wrote the bytes; not marshal,
which may crash on bytes that are damaged and whose form follows the version of Python.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Final, TypeVar

from pipeline.dicom.headers.instance import FramePlace, InstanceHeader, PixelElement

_Header = TypeVar("_Header", bound=InstanceHeader)

#: Changes with whatever changes what the bytes mean.
_VERSION: Final = b"\x01"
_NAMES: Final = tuple(field.name for field in dataclasses.fields(InstanceHeader))
_PLACE_NAMES: Final = tuple(field.name for field in dataclasses.fields(FramePlace))


def pack(header: InstanceHeader) -> bytes:
    """Return the header as bytes."""
    values = {name: getattr(header, name) for name in _NAMES}
    values["pixels"] = dataclasses.asdict(header.pixels)
    if header.places is not None:
        values["places"] = [
            [getattr(place, name) for name in _PLACE_NAMES] for place in header.places
        ]
    return _VERSION + json.dumps(list(values.values()), separators=(",", ":")).encode()


def unpack(packed: bytes, kind: type[_Header]) -> _Header:
    """Return the header that ``pack`` made bytes of.

    Raises:
        ValueError: the bytes are not of this version.

    """
    if packed[:1] != _VERSION:
        raise ValueError("a packed header of another version")
    try:
        values = dict(zip(_NAMES, _tuples(json.loads(packed[1:])), strict=True))
        values["pixels"] = PixelElement(**values["pixels"])
        if values["places"] is not None:
            values["places"] = tuple(
                FramePlace(**dict(zip(_PLACE_NAMES, place, strict=True)))
                for place in values["places"]
            )
        return kind(**values)
    except (TypeError, KeyError, RecursionError) as error:
        raise ValueError("no packed header") from error


def _tuples(value: Any) -> Any:
    """Return lists as the tuples that they were."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
