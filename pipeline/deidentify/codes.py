"""Coded concepts (PS3.3 8.8): a code that a standard defines may stay, one of the house may not.

A local code and above all its meaning are free text that anybody typed. The meaning of a code
that is known is written as the standard words it; that of another goes.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any, Final, cast

from pydicom.dataset import Dataset
from pydicom.sr._concepts_dict import concepts
from pydicom.sr._snomed_dict import mapping as snomed

from pipeline.deidentify.identity import Identity
from pipeline.deidentify.keys import Key
from pipeline.dicom.headers.elements import text_of

#: schemes of public standards (PS3.16 section 8), and how their codes look
_SCHEMES: Final[Mapping[str, re.Pattern[str]]] = {
    "DCM": re.compile(r"[0-9]{6}"),
    "SCT": re.compile(r"[0-9]{6,18}"),
    "SRT": re.compile(r"[A-Z]{1,2}-[0-9A-F]{4,6}"),
    "SNM3": re.compile(r"[A-Z]{1,2}-[0-9A-F]{4,6}"),
    "99SDM": re.compile(r"[A-Z]{1,2}-[0-9A-F]{4,6}"),
    "LN": re.compile(r"[0-9]{1,7}-[0-9]"),
    "RADLEX": re.compile(r"RID[0-9]{1,7}"),
    "FMA": re.compile(r"[0-9]{1,7}"),
    "NCIt": re.compile(r"C[0-9]{1,8}"),
    "UMLS": re.compile(r"C[0-9]{7}"),
    "RXNORM": re.compile(r"[0-9]{1,8}"),
    "IBSI": re.compile(r"[0-9A-Z]{4}"),
    "I10": re.compile(r"[A-Z][0-9]{2}(\.[0-9A-Z]{1,4})?"),
}
_LOCAL_SCHEME: Final = "99REMOVED"
_NO_MEANING: Final = "Meaning removed"
_CODES: Final = ("CodeValue", "LongCodeValue", "URNCodeValue")


def is_code(item: Dataset) -> bool:
    """Say whether an item of a sequence is a coded concept."""
    return any(keyword in item for keyword in (*_CODES, "CodeMeaning"))


def settle(item: Dataset, key: Key, identity: Identity, *, clean: bool) -> None:
    """Make an item that was copied say only what a standard defines.

    Args:
        item: the new item; changed in place.
        key: for the code that stands for a local one.
        identity: whom the data set speaks of.
        clean: keep the meaning of codes that we do not know, cleaned.

    """
    value = next((text_of(item, one) for one in _CODES if text_of(item, one)), "")
    scheme, meaning = text_of(item, "CodingSchemeDesignator"), text_of(item, "CodeMeaning")
    known = _meanings().get((scheme, value))
    pattern = _SCHEMES.get(scheme)
    is_local = known is None and (
        pattern is None or not pattern.fullmatch(value) or identity.is_in(value)
    )
    if is_local:
        for keyword in (*_CODES, "CodingSchemeVersion", "MappingResource", "MappingResourceName"):
            if keyword in item:
                del item[keyword]
        item.CodeValue = key.word("code", f"{scheme}\0{value}\0{meaning}")
        item.CodingSchemeDesignator = _LOCAL_SCHEME
    if known is not None:
        item.CodeMeaning = meaning if meaning in known else min(known, key=lambda m: (len(m), m))
    else:
        kept = identity.cleaned(meaning) if clean else ""
        item.CodeMeaning = kept or _NO_MEANING


@functools.cache
def _meanings() -> Mapping[tuple[str, str], frozenset[str]]:
    """Return the meanings that PS3.16 gives its codes, by scheme and value."""
    found: dict[tuple[str, str], set[str]] = {}
    table: Mapping[str, Mapping[str, Mapping[str, Any]]] = cast("Any", concepts)
    for scheme, by_keyword in table.items():
        for entries in by_keyword.values():
            for value, (meaning, *_) in entries.items():
                found.setdefault((scheme, value), set()).add(meaning[:64])
    for old, current in snomed["SRT"].items():
        if ("SCT", current) in found:
            found["SRT", old] = found["SCT", current]
    return {code: frozenset(meanings) for code, meanings in found.items()}
