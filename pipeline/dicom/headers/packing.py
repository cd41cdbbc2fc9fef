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
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pipeline.dicom.headers.facts import Found, header_of
from pipeline.dicom.headers.instance import FramePlace, InstanceHeader, PixelElement
from pipeline.dicom.headers.judging import shape_of, uid_of
from pipeline.dicom.headers.stated import Raw, Stated
from pipeline.dicom.headers.wanted import IDENTITY, KEYS, VRS
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.refusal import FileRefused

#: of the facts of a header
NAMES: Final = tuple(field.name for field in dataclasses.fields(InstanceHeader))
_PLACE_NAMES: Final = tuple(field.name for field in dataclasses.fields(FramePlace))

#: What the slices of one series do not share. The facts of the rest are the same for all of them,
#: and are made once, as its bytes are.
_VARYING: Final = (
    *("SOPInstanceUID", "InstanceNumber", "ImagePositionPatient"),
    *("AcquisitionTime", "ContentTime"),
)
_SHARED: Final = tuple(
    keyword for keyword in KEYS if keyword not in _VARYING and keyword not in IDENTITY
)
_shared_of: Final = operator.itemgetter(*(KEYS[keyword] for keyword in _SHARED))
#: tags of the values that ``pack_own`` takes
OWN_TAGS: Final = tuple(KEYS[keyword] for keyword in _VARYING)


def form(number: int, names: Iterable[str]) -> bytes:
    """Return what the bytes of a form begin with; another where other facts are kept."""
    digest = hashlib.blake2b("/".join(names).encode(), digest_size=4).digest()
    return bytes([number]) + digest


_FACTS: Final = form(2, (*NAMES, *_PLACE_NAMES))
_STATED: Final = form(5, (*_VARYING, *_SHARED))
#: Headers packed under another version cannot be unpacked: an index on disk keeps it.
VERSION: Final = (_FACTS + _STATED).hex()
#: form, size of the file, offset and length of the pixel data; then the lengths of the name and of
#: the values that vary, which follow
_HEAD: Final = struct.Struct(f"<{len(_STATED)}sQQI{1 + len(_VARYING)}H")
#: behind them: the lengths of the patient key and of the shared values, which follow
_LENGTHS: Final = struct.Struct(f"<{1 + len(_SHARED)}H")
_UNDEFINED: Final = 0xFFFFFFFF
#: facts of what is shared, by its bytes
_COMMON: Final[dict[bytes, dict[str, Any]]] = {}
_MOST_COMMON: Final = 64
#: A header was within its limits when it was packed.
_ANYTHING: Final = HeaderLimits(pixels=2**80)


def pack(header: InstanceHeader) -> bytes:
    """Return the header as bytes."""
    return _FACTS + json.dumps(list(plain(header).values()), separators=(",", ":")).encode()


def pack_shared(found: Mapping[bytes, bytes], patient_key: bytes) -> bytes:
    """Return what the slices of a series share as bytes, without what tells who the patient is.

    Args:
        found: raw values by tag, as the walker finds them.
        patient_key: as ``InstanceHeader.patient_key``.

    """
    values = (patient_key, *_shared_of(found))
    return _LENGTHS.pack(*map(len, values)) + b"".join(values)


def pack_own(
    own: Sequence[bytes], name: str, size: int, pixels: tuple[int, int], shared: bytes
) -> bytes:
    """Return what the walker found in one file as bytes.

    Args:
        own: raw values of ``OWN_TAGS``.
        name: of the file in its source.
        size: bytes of the file.
        pixels: offset and length of the value of PixelData.
        shared: all other values, from ``pack_shared``.

    """
    path = name.encode("utf-8", "surrogatepass")
    head = _HEAD.pack(_STATED, size, *pixels, len(path), *map(len, own))
    return b"".join((head, path, *own, shared))


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
    (path, *values), shared = _cut(packed, _HEAD.size, lengths)
    varying = _raw(_VARYING, values)
    own: dict[str, Any] = {
        "path": path.decode("utf-8", "surrogatepass"),
        "size": size,
        "pixels": PixelElement(offset=offset, length=None if length == _UNDEFINED else length),
    }
    common = _COMMON.get(shared)
    if common is not None:
        return InstanceHeader(**common | own | _facts_of(Stated(varying)))
    (patient_key, *values), rest = _cut(shared, _LENGTHS.size, _LENGTHS.unpack_from(shared))
    if rest:
        raise ValueError("bytes behind the last value")
    stated = Stated(varying | _raw(_SHARED, values))
    found = Found(
        name=own["path"],
        size=size,
        transfer_syntax_uid=stated.uid("TransferSyntaxUID"),
        patient_key=patient_key.decode("ascii"),
        pixels=own["pixels"],
    )
    header = header_of(stated, found, shape_of(stated, _ANYTHING, is_float=False))
    if len(_COMMON) >= _MOST_COMMON:
        _COMMON.clear()
    _COMMON[shared] = {field: getattr(header, field) for field in NAMES}
    return header


def _cut(packed: bytes, place: int, lengths: Iterable[int]) -> tuple[list[bytes], bytes]:
    """Return values that begin at a place, and what follows them."""
    values = []
    for length in lengths:
        values.append(packed[place : place + length])
        place += length
    if place > len(packed):
        raise ValueError("values that are cut short")
    return values, packed[place:]


def _raw(keywords: Sequence[str], values: Sequence[bytes]) -> dict[str, Raw]:
    pairs = zip(keywords, values, strict=True)
    return {keyword: (VRS[keyword][0], value) for keyword, value in pairs if value}


def _facts_of(stated: Stated) -> dict[str, Any]:
    """Return what the slices of a series do not share, as ``header_of`` does."""
    return {
        "sop_instance_uid": uid_of(stated, "SOPInstanceUID"),
        "instance_number": stated.integer("InstanceNumber"),
        "position": stated.numbers("ImagePositionPatient", 3),
        "acquisition_time": stated.text("AcquisitionTime"),
        "content_time": stated.text("ContentTime"),
    }
