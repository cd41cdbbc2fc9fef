"""The raw values of the wanted elements in a data set that pydicom has parsed."""

from __future__ import annotations

import struct
from typing import Any, Final

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from pipeline.dicom.headers.stated import Raw, Stated
from pipeline.dicom.headers.wanted import META, TAGS, VRS

#: bytes of one value, of the VRs whose values have another order of bytes in big endian
_WIDTHS: Final = {
    "US": 2,
    "SS": 2,
    "AT": 2,
    "UL": 4,
    "SL": 4,
    "FL": 4,
    "FD": 8,
    "UV": 8,
    "SV": 8,
}


def stated_in(dataset: Dataset) -> Stated:
    """Return what a data set states, not converted: no conversion of pydicom can fail on it.

    Args:
        dataset: as parsed, none of its elements asked for yet.

    """
    values: dict[str, Raw] = {}
    meta = dataset.file_meta if hasattr(dataset, "file_meta") else Dataset()
    for keyword, tag in TAGS.items():
        element = (meta if keyword in META else dataset).get_item(tag)
        raw = None if element is None else _raw(element, VRS[keyword][0])
        if raw is not None:
            values[keyword] = raw
    return Stated(values)


def _raw(element: Any, usual: str) -> Raw | None:
    """Return VR and little endian bytes of an element; None where it is empty."""
    if not isinstance(element, RawDataElement):
        # Sequences of undefined length are parsed at once, and so is the meta information.
        is_sequence = element.VR == "SQ"
        return usual, b"\1" if is_sequence else str(element.value or "").encode(
            "latin-1", "replace"
        )
    # An unknown VR is no statement about the value (PS3.5 6.2.2).
    vr = usual if element.VR in (None, "UN") else str(element.VR)
    value = element.value
    if not isinstance(value, bytes) or not value:
        return None
    if not element.is_little_endian and vr in _WIDTHS:
        value = _swapped(value, _WIDTHS[vr])
    return vr, value


def _swapped(value: bytes, width: int) -> bytes:
    whole = len(value) // width
    code = {2: "H", 4: "I", 8: "Q"}[width]
    return struct.pack(f"<{whole}{code}", *struct.unpack_from(f">{whole}{code}", value))
