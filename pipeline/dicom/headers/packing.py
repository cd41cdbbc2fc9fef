"""Headers as bytes: for the way out of a reader, and for the index of a scan on disk.

Two forms, each behind a mark of its version. What the walker found is kept as it stood in the
file and converted when it is unpacked: a scan of a million files does not pay for facts that it
may find in its index. Every other header is kept as JSON. Neither is pickle, which runs code of
whoever wrote the bytes, nor marshal, which may crash on damaged bytes and changes with Python.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import operator
import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pipeline.dicom.headers.facts import Found, header_of
from pipeline.dicom.headers.instance import FramePlace, InstanceHeader, PixelElement
from pipeline.dicom.headers.judging import shape_of, uid_of
from pipeline.dicom.headers.stated import Stated
from pipeline.dicom.headers.wanted import IDENTITY, KEYS, VRS
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.refusal import FileRefused

#: of the facts of a header
NAMES: Final = tuple(field.name for field in dataclasses.fields(InstanceHeader))
_PLACE_NAMES: Final = tuple(field.name for field in dataclasses.fields(FramePlace))

_KEPT: Final = tuple(keyword for keyword in KEYS if keyword not in IDENTITY)
_kept_of: Final = operator.itemgetter(*(KEYS[keyword] for keyword in _KEPT))


def form(number: int, names: Iterable[str]) -> bytes:
    """Return what the bytes of a form begin with; another where other facts are kept."""
    digest = hashlib.blake2b("/".join(names).encode(), digest_size=4).digest()
    return bytes([number]) + digest


_FACTS: Final = form(1, (*NAMES, *_PLACE_NAMES))
_STATED: Final = form(2, _KEPT)
#: Headers packed under another version cannot be unpacked: an index on disk keeps it.
VERSION: Final = (_FACTS + _STATED).hex()
#: form, size of the file, offset and length of the pixel data; then the lengths of the name, the
#: patient key and the kept values, which follow
_HEAD: Final = struct.Struct(f"<{len(_STATED)}sQQI{2 + len(_KEPT)}H")
_UNDEFINED: Final = 0xFFFFFFFF
#: Places in ``_KEPT`` of what the slices of one series do not share. The facts of the rest are
#: the same for all of them, and are made once.
_VARYING: Final = tuple(
    _KEPT.index(keyword)
    for keyword in (
        *("SOPInstanceUID", "InstanceNumber", "ImagePositionPatient"),
        *("AcquisitionTime", "ContentTime"),
    )
)
_SHARED: Final = tuple(index for index in range(len(_KEPT)) if index not in _VARYING)
_COMMON: Final[dict[tuple[bytes, ...], dict[str, Any]]] = {}
_MOST_COMMON: Final = 64
#: A header was within its limits when it was packed.
_ANYTHING: Final = HeaderLimits(pixels=2**80)


def pack(header: InstanceHeader) -> bytes:
    """Return the header as bytes."""
    return _FACTS + json.dumps(list(plain(header).values()), separators=(",", ":")).encode()


def pack_stated(
    found: dict[bytes, bytes], name: str, size: int, pixels: tuple[int, int], patient_key: bytes
) -> bytes:
    """Return what the walker found as bytes, without what tells who the patient is.

    Args:
        found: raw values by tag, as ``Walker.walk`` returns them.
        name: of the file in its source.
        size: bytes of the file.
        pixels: offset and length of the value of PixelData.
        patient_key: as ``InstanceHeader.patient_key``.

    """
    values = (name.encode("utf-8", "surrogatepass"), patient_key, *_kept_of(found))
    return _HEAD.pack(_STATED, size, *pixels, *map(len, values)) + b"".join(values)


def unpack(packed: bytes) -> InstanceHeader:
    """Return the header that was packed.

    Raises:
        ValueError: the bytes are not of this version.

    """
    try:
        if packed.startswith(_FACTS):
            stored = json.loads(packed[len(_FACTS) :])
            return InstanceHeader(**typed(dict(zip(NAMES, stored, strict=True))))
        if packed.startswith(_STATED):
            return _header(packed)
    except (TypeError, ValueError, KeyError, RecursionError, struct.error, FileRefused) as error:
        raise ValueError("a packed header that is damaged") from error
    raise ValueError("no packed header, or one of another version")


def plain(header: InstanceHeader) -> dict[str, Any]:
    """Return the facts of a header by name, as values that JSON can hold."""
    values = {name: getattr(header, name) for name in NAMES}
    values["pixels"] = dataclasses.asdict(header.pixels)
    if header.places is not None:
        values["places"] = [
            [getattr(place, name) for name in _PLACE_NAMES] for place in header.places
        ]
    return values


def typed(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return some or all of the facts that ``plain`` made, as they were.

    Raises:
        TypeError, ValueError: they are none.

    """
    values = {name: _tuples(value) for name, value in stored.items()}
    if "pixels" in values:
        values["pixels"] = PixelElement(**values["pixels"])
    if values.get("places") is not None:
        values["places"] = tuple(
            FramePlace(**dict(zip(_PLACE_NAMES, place, strict=True))) for place in values["places"]
        )
    return values


def _tuples(value: Any) -> Any:
    """Return lists as the tuples that they were."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _header(packed: bytes) -> InstanceHeader:
    _, size, offset, length, *lengths = _HEAD.unpack_from(packed)
    texts, place = [], _HEAD.size
    for count in lengths:
        texts.append(packed[place : place + count])
        place += count
    name, patient_key, *values = texts
    own: dict[str, Any] = {
        "path": name.decode("utf-8", "surrogatepass"),
        "size": size,
        "patient_key": patient_key.decode("ascii"),
        "pixels": PixelElement(offset=offset, length=None if length == _UNDEFINED else length),
    }
    common = _COMMON.get(key := tuple(values[index] for index in _SHARED))
    if common is not None:
        stated = Stated({_KEPT[i]: (VRS[_KEPT[i]][0], values[i]) for i in _VARYING if values[i]})
        return InstanceHeader(**common | own | _varying(stated))
    stated = Stated(
        {
            keyword: (VRS[keyword][0], value)
            for keyword, value in zip(_KEPT, values, strict=True)
            if value
        }
    )
    found = Found(
        name=own["path"],
        size=size,
        transfer_syntax_uid=stated.uid("TransferSyntaxUID"),
        patient_key=own["patient_key"],
        pixels=own["pixels"],
    )
    header = header_of(stated, found, shape_of(stated, _ANYTHING, is_float=False))
    if len(_COMMON) >= _MOST_COMMON:
        _COMMON.clear()
    _COMMON[key] = {field: getattr(header, field) for field in NAMES}
    return header


def _varying(stated: Stated) -> dict[str, Any]:
    """Return what the slices of a series do not share, as ``header_of`` does."""
    return {
        "sop_instance_uid": uid_of(stated, "SOPInstanceUID"),
        "instance_number": stated.integer("InstanceNumber"),
        "position": stated.numbers("ImagePositionPatient", 3),
        "acquisition_time": stated.text("AcquisitionTime"),
        "content_time": stated.text("ContentTime"),
    }
