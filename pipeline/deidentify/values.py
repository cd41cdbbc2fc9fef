"""Single elements: may this value stay, and what stands in its place where it may not?"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np
from pydicom._uid_dict import UID_dictionary
from pydicom.dataelem import DataElement
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

from pipeline.deidentify import dates
from pipeline.deidentify.identity import Identity

#: character strings that people type (PS3.5 6.2)
TEXT: Final = frozenset({"LO", "SH", "ST", "LT", "UT", "UC"})
#: and how their values lie in files
_NUMBERS: Final[Mapping[str, str]] = {
    "US": "u2",
    "SS": "i2",
    "UL": "u4",
    "SL": "i4",
    "UV": "u8",
    "SV": "i8",
    "FL": "f4",
    "FD": "f8",
    "AT": "u4",
}
_BYTES: Final = frozenset({"OB", "OW", "OF", "OD", "OL", "OV"})

_UID: Final = re.compile(r"[0-9.]{1,64}")
_CODE_STRING: Final = re.compile(r"[A-Za-z0-9_ ]{0,16}")
_DECIMAL: Final = re.compile(r" *[+-]?(\d+\.?\d*|\.\d+)([Ee][+-]?\d{1,3})? *")
_INTEGER: Final = re.compile(r" *[+-]?\d{1,12} *")
_CONTROL: Final = re.compile(r"[\0-\x08\x0b\x0e-\x1a\x1c-\x1f]")

#: words that code strings of images hold whoever the patient is; some are names, too
_TERMS: Final = frozenset(
    {
        *("ORIGINAL", "DERIVED", "PRIMARY", "SECONDARY", "AXIAL", "LOCALIZER", "HELICAL", "OTHER"),
        *("MIXED", "NONE", "YES", "NO", "HEAD", "FOOT", "CHEST", "ABDOMEN", "NECK", "ARM", "LEG"),
        *("HAND", "KNEE", "BREAST", "HEART", "BRAIN", "SPINE", "MONOCHROME1", "MONOCHROME2"),
        *("RGB", "PALETTE", "COLOR", "HFS", "HFP", "FFS", "FFP", "HFDR", "HFDL", "FFDR", "FFDL"),
        *("BODY", "NORMAL", "MAGNITUDE", "PHASE", "MEDIUM", "LARGE", "VOLUME", "DISTORTED"),
        *("RECON", "REFORMATTED", "MANUAL", "AUTOMATIC", "SEMIAUTOMATIC", "BINARY"),
        *("FRACTIONAL", "PROBABILITY", "CT", "MR", "PT", "NM", "US", "SEG", "HU"),
    }
)

_ICC_PROFILE: Final = Tag("ICCProfile")
REMOVED: Final = "REMOVED"
_DUMMIES: Final[Mapping[str, Any]] = {
    **dict.fromkeys(TEXT, REMOVED),
    "PN": REMOVED,
    "AE": REMOVED,
    "UR": "urn:removed",
    "DA": dates.DUMMY_DATE,
    "TM": dates.DUMMY_TIME,
    "DT": dates.DUMMY_DATE_TIME,
    "AS": "000Y",
    "DS": "0",
    "IS": "0",
    **dict.fromkeys(_NUMBERS.keys() - {"AT"}, 0),
    **dict.fromkeys(_BYTES | {"UN"}, bytes(8)),
}


def dummy(tag: BaseTag, vr: str) -> DataElement | None:
    """Return an element of a valid value that says nothing; None where there is none."""
    return DataElement(tag, vr, _DUMMIES[vr]) if vr in _DUMMIES else None


def empty(tag: BaseTag, vr: str) -> DataElement:
    """Return an element without a value."""
    return DataElement(tag, vr, [] if vr == "SQ" else None)


def is_well_known(uid: str) -> bool:
    """Say whether the standard itself defines a UID: a class, a syntax, a frame of reference."""
    return uid in UID_dictionary


def may_stay(element: DataElement, identity: Identity) -> bool:
    """Say whether the value is what its VR says, and no name or id of the patient.

    ``element`` is neither a sequence nor a UID.
    """
    if element.value is None or element.is_empty:
        return True
    vr = str(element.VR)
    if isinstance(element.value, bytes):
        return _may_bytes_stay(element, identity)
    if vr in _NUMBERS or " or " in vr:
        return _are_numbers(element.value) and not _spells(element, vr, identity)
    return _may_texts_stay([_stated(value) for value in values_of(element)], vr, identity)


def _may_bytes_stay(element: DataElement, identity: Identity) -> bool:
    # in implicit syntaxes what is US, SS or OW may be known only when it is written
    is_binary = str(element.VR) in _BYTES or " or " in str(element.VR)
    is_profile = element.tag != _ICC_PROFILE or element.value[36:40] == b"acsp"
    return is_binary and is_profile and not identity.is_in_bytes(element.value)


def _spells(element: DataElement, vr: str, identity: Identity) -> bool:
    """Say whether the bytes of numbers, in either order, are letters of a name or an id."""
    try:
        numbers = np.array(values_of(element), _NUMBERS.get(vr, "i4"))
    except (OverflowError, ValueError):
        return True
    if vr == "AT":  # two numbers of two bytes
        numbers = np.stack([numbers >> 16, numbers & 0xFFFF], axis=-1).astype("u2")
    return identity.is_in_bytes(numbers.tobytes()) or identity.is_in_bytes(
        numbers.byteswap().tobytes()
    )


def _may_texts_stay(texts: list[str], vr: str, identity: Identity) -> bool:
    if vr == "CS":
        return all(_is_code_string(text, identity) for text in texts)
    if vr in TEXT:
        return not any(_CONTROL.search(text) or identity.is_in(text) for text in texts)
    check = _FORMS.get(vr)
    return check is not None and all(not text.strip() or check(text) for text in texts)


def values_of(element: DataElement) -> list[Any]:
    """Return the values of an element, one or many."""
    value = element.value
    is_many = not isinstance(value, str | bytes) and hasattr(value, "__iter__")
    return list(value) if is_many else [value]


def mapped(element: DataElement, change: Callable[[str], str | None]) -> DataElement | None:
    """Return the element with every value changed; None where one of them cannot be."""
    changed = [change(_stated(value)) for value in values_of(element)]
    if any(value is None for value in changed):
        return None
    return DataElement(element.tag, element.VR, changed if len(changed) > 1 else changed[0])


def new_uids(element: DataElement, change: Callable[[str], str]) -> DataElement | None:
    """Return the element with every UID replaced that the standard does not define."""

    def changed(text: str) -> str | None:
        stripped = text.strip("\0 ")
        if not stripped or is_well_known(stripped):
            return stripped
        return change(stripped) if _UID.fullmatch(stripped) else None

    return mapped(element, changed)


def kept_uids(element: DataElement) -> bool:
    """Say whether every value of a UI element is a UID."""
    return all(_UID.fullmatch(str(value).strip("\0 ")) for value in values_of(element) if value)


def is_uid(text: str) -> bool:
    """Say whether a text is a UID (PS3.5 9.1)."""
    return _UID.fullmatch(text) is not None and UID(text) == text


def _stated(value: object) -> str:
    """Return a value as its file states it: decimal strings keep their digits."""
    original = getattr(value, "original_string", None)
    return str(value if original is None else original)


def _is_code_string(text: str, identity: Identity) -> bool:
    if not _CODE_STRING.fullmatch(text):
        return False
    return set(text.upper().split()) <= _TERMS or not identity.is_in(text)


def _are_numbers(value: object) -> bool:
    values: Iterable[Any] = (
        value if not isinstance(value, str | bytes) and hasattr(value, "__iter__") else (value,)
    )
    return all(isinstance(one, int | float) for one in values)


def _is_decimal(text: str) -> bool:
    if not _DECIMAL.fullmatch(text):
        return False
    return math.isfinite(float(text))


_FORMS: Final[Mapping[str, Callable[[str], bool]]] = {
    "DS": _is_decimal,
    "IS": lambda text: _INTEGER.fullmatch(text) is not None,
    "AS": dates.is_age,
    "DA": dates.is_date,
    "TM": dates.is_time,
    "DT": dates.is_date_time,
}
