"""Who a data set speaks of, and how to find them in a text that may stay.

Defence in depth: attributes that identify are removed by the table. What is left is searched for
the words that those attributes held, wherever else somebody typed them.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from pydicom.dataset import Dataset

from pipeline.dicom.headers.elements import text_of

#: shorter parts of names are found in half of all words
_SHORTEST_NAME: Final = 3
#: from this length on a name is also found inside a longer word
_SHORTEST_INSIDE: Final = 5
_SHORTEST_ID: Final = 4
_DEEPEST: Final = 32

#: attributes whose values identify, beside every PN
_IDS: Final = (
    *("PatientID", "AccessionNumber", "StudyID", "AdmissionID", "IssuerOfPatientID"),
    *("OtherPatientIDs", "PatientTelephoneNumbers", "MedicalRecordLocator"),
    *("ServiceEpisodeID", "RequestedProcedureID", "ScheduledProcedureStepID"),
    *("PerformedProcedureStepID", "FillerOrderNumberImagingServiceRequest"),
    *("PlacerOrderNumberImagingServiceRequest",),
)
_WORDED: Final = (
    *("PatientAddress", "PatientMotherBirthName"),
    *("CountryOfResidence", "RegionOfResidence"),
)
_INSTITUTIONS: Final = (*("InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName"),)
#: parts of names and addresses that are words of every report
_COMMON: Final = frozenset(
    {
        *("the", "and", "for", "von", "van", "der", "den", "des", "del", "las", "los", "dos"),
        *("hospital", "clinic", "center", "centre", "klinik", "radiology", "department"),
        *("university", "medical", "imaging", "health", "street", "road", "str", "test"),
        *("anonymous", "anonymized", "removed", "unknown", "phantom", "patient", "name"),
        *("none", "dr", "prof", "med"),
    }
)
#: dates, long numbers, mail addresses, titled names: identifying whoever is meant
_PATTERNS: Final = re.compile(
    r"\b\d{1,4}[./-]\d{1,2}[./-]\d{1,4}\b"
    r"|\b(?:19|20)\d{6}\b"
    r"|\b\d{1,2}:\d\d(?::\d\d)?\b"
    r"|\b\d[\d ()/.-]{4,}\d\b"
    r"|\b[A-Za-z]{0,4}\d{5,}\w*\b"
    r"|\S+@\S+"
    r"|\b(?:dr|prof|mr|mrs|ms|miss|md|herr|frau)\b\.?\s+\S+",
    re.IGNORECASE,
)
_MONTHS: Final = re.compile(
    r"\b\d{1,2}\.?\s*(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?\s*\d{2,4}\b"
    r"|\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?\s*\d{1,2},?\s*\d{2,4}\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Identity:
    """The words by which a data set identifies people, folded: lower case, without accents."""

    #: what keys of the patient are derived from
    patient: str = field(repr=False)
    names: frozenset[str] = field(repr=False)
    ids: frozenset[str] = field(repr=False)

    def is_in(self, text: str) -> bool:
        """Say whether a text holds a name, an id or a date of birth of the data set."""
        folded = _folded(text)
        if any(one in folded for one in self.ids):
            return True
        if any(len(name) >= _SHORTEST_INSIDE and name in folded for name in self.names):
            return True
        return any(word in self.names for word in _words(folded))

    def is_in_bytes(self, value: bytes) -> bool:
        """Say whether bytes hold a name or an id as text in one byte or two per letter."""
        if not self.names and not self.ids:
            return False
        plain = value.replace(b"\0", b"").decode("latin-1")
        folded = _folded(plain)
        long_names = (name for name in self.names if len(name) >= _SHORTEST_INSIDE)
        long_ids = (one for one in self.ids if len(one) > _SHORTEST_INSIDE)
        return any(one in folded for one in (*long_names, *long_ids))

    def cleaned(self, text: str) -> str:
        """Return a text without names, ids, dates, long numbers and addresses."""
        kept = " ".join(word for word in text.split() if not self.is_in(word))
        result = " ".join(_MONTHS.sub(" ", _PATTERNS.sub(" ", kept)).split())
        # a name of two words, or an id with a space in it, is found only across words
        return "" if self.is_in(result) else result


def identity_of(dataset: Dataset, *, may_name_institutions: bool = False) -> Identity:
    """Gather what identifies people anywhere in a data set, its sequences and private elements.

    The patient is known by id and issuer; without an id by name and date of birth; without
    either by the study.

    Args:
        dataset: the whole instance.
        may_name_institutions: the words of institutions are none to look for.

    """
    worded = _WORDED if may_name_institutions else (*_WORDED, *_INSTITUTIONS)
    names: set[str] = set()
    ids: set[str] = set()
    for item in _items(dataset, 0):
        _gather(item, worded, names, ids)
    known, issuer = text_of(dataset, "PatientID"), text_of(dataset, "IssuerOfPatientID")
    name, born = text_of(dataset, "PatientName"), text_of(dataset, "PatientBirthDate")
    if known:
        patient = f"id\0{known}\0{issuer}"
    elif name:
        patient = f"name\0{_folded(name)}\0{born}"
    else:
        patient = f"study\0{text_of(dataset, 'StudyInstanceUID')}"
    return Identity(patient=patient, names=frozenset(names), ids=frozenset(ids))


def _gather(item: Dataset, worded: Iterable[str], names: set[str], ids: set[str]) -> None:
    for tag in item.keys():  # noqa: SIM118 - iterating a Dataset converts, and so may raise
        for text in _person_names(item, tag):
            names.update(_name_parts(text))
    for keyword in worded:
        names.update(_name_parts(_raw_text(item, keyword)))
    for keyword in _IDS:
        ids.update(_id_forms(_raw_text(item, keyword)))
    ids.update(_birth_forms(text_of(item, "PatientBirthDate")))


def _items(dataset: Dataset, depth: int) -> Iterator[Dataset]:
    """Yield a data set and every item below it."""
    yield dataset
    if depth > _DEEPEST:
        return
    for tag in dataset.keys():  # noqa: SIM118 - see _gather
        try:
            element = dataset[tag]
        except Exception:  # noqa: BLE001, S112 - see elements.value_of
            continue
        if element.VR == "SQ":
            for item in element.value or ():
                yield from _items(item, depth + 1)


def _person_names(item: Dataset, tag: Any) -> Iterable[str]:
    try:
        element = item[tag]
        if element.VR != "PN" or element.value is None:
            return ()
        values = [element.value] if element.VM == 1 else element.value
        return [str(value) for value in values]
    except Exception:  # noqa: BLE001 - see elements.value_of
        return ()


def _raw_text(item: Dataset, keyword: str) -> str:
    """Return an element as text, longer than what headers keep of it."""
    try:
        value = item.get(keyword)
    except Exception:  # noqa: BLE001 - see elements.value_of
        return ""
    if value is None:
        return ""
    is_many = not isinstance(value, str) and hasattr(value, "__iter__")
    return "\\".join(map(str, value)) if is_many else str(value)


def _name_parts(text: str) -> Iterator[str]:
    for word in _words(_folded(text)):
        is_long = len(word) >= _SHORTEST_NAME or (len(word) > 1 and not word.isascii())
        if is_long and word not in _COMMON and not word.isdigit():
            yield word


def _id_forms(text: str) -> Iterator[str]:
    for one in _folded(text).split("\\"):
        stripped = one.strip()
        if len(stripped) >= _SHORTEST_ID and stripped not in _COMMON:
            yield stripped
            bare = re.sub(r"[\W_]", "", stripped)
            if len(bare) > _SHORTEST_ID:
                yield bare


def _birth_forms(text: str) -> Iterator[str]:
    try:
        born = dt.datetime.strptime(text.strip(), "%Y%m%d")  # noqa: DTZ007 - a day, no time
    except ValueError:
        return
    for form in ("%Y%m%d", "%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%d%m%Y"):
        yield born.strftime(form)


def _words(folded: str) -> list[str]:
    return re.findall(r"[^\W_]+", folded)


def _folded(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).casefold()
