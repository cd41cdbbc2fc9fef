"""What a de-identified object says of itself (PS3.15 E.1.1, PS3.3 C.7.1.1 and C.7.5.1)."""

from __future__ import annotations

from typing import Final

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from pipeline.deidentify.dataset import Deidentifier
from pipeline.deidentify.profile import BASIC_PROFILE, EDITION, METHOD_CODES, Option

_METHOD: Final = f"Nightshift, DICOM PS3.15 {EDITION} Annex E"


def mark(made: Dataset, deidentifier: Deidentifier, *, is_clean: bool) -> None:
    """Write into a new data set that, and how, it was de-identified.

    Args:
        made: changed in place.
        deidentifier: what made it.
        is_clean: a pixel rule blanked its pixels or states that they are clean.

    """
    options = set(deidentifier.options)
    options.discard(Option.CLEAN_PIXELS)
    if is_clean:
        options.add(Option.CLEAN_PIXELS)
        made.BurnedInAnnotation = "NO"
    pseudonym = deidentifier.key.pseudonym(deidentifier.identity.patient)
    made.PatientName = pseudonym
    made.PatientID = pseudonym
    made.PatientIdentityRemoved = "YES"
    made.DeidentificationMethod = _METHOD
    chosen = [BASIC_PROFILE, *(METHOD_CODES[one] for one in Option if one in options)]
    made.DeidentificationMethodCodeSequence = Sequence([_code(*code) for code in chosen])
    made.LongitudinalTemporalInformationModified = _temporal(deidentifier.options)
    if not _is_ascii(made):
        made.SpecificCharacterSet = "ISO_IR 192"


def _temporal(options: frozenset[Option]) -> str:
    if Option.FULL_DATES in options:
        return "UNMODIFIED"
    return "MODIFIED" if Option.MODIFIED_DATES in options else "REMOVED"


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def _is_ascii(made: Dataset) -> bool:
    """Say whether all text is ASCII, as it must be where no character set is stated."""
    return all(
        str(element.value).isascii()
        for item in _items(made)
        for element in item
        if element.VR in ("LO", "SH", "ST", "LT", "UT", "UC", "PN")
    )


def _items(dataset: Dataset) -> list[Dataset]:
    found = [dataset]
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                found += _items(item)
    return found
