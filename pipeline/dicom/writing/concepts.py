"""Coded concepts of written objects: public codes, and private ones where the public have none."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code as DicomCode

from pipeline.results import Code

#: designator of our own codes; an object that uses it says whose they are (PS3.3 C.12.1.1.7)
PRIVATE_SCHEME: Final = "99NIGHTSHIFT"
_LONGEST_VALUE: Final = 16  # VR SH
_LONGEST_MEANING: Final = 64  # VR LO

PROBABILITY: Final = DicomCode("122157", "DCM", "Probability")
VOLUME: Final = DicomCode("118565006", "SCT", "Volume")
WIDTH: Final = DicomCode("103355008", "SCT", "Width")
HEIGHT: Final = DicomCode("121207", "DCM", "Height")
DEPTH: Final = DicomCode("131197000", "SCT", "Depth")
YES: Final = DicomCode("373066001", "SCT", "Yes")
NO: Final = DicomCode("373067005", "SCT", "No")
SOURCE: Final = DicomCode("260753009", "SCT", "Source")
NOT_A_NUMBER: Final = DicomCode("114000", "DCM", "Not a number")
FINDINGS_SUMMARY: Final = DicomCode("111017", "DCM", "CAD Processing and Findings Summary")
NO_FINDINGS: Final = DicomCode("111241", "DCM", "All algorithms succeeded; without findings")

#: what no public scheme names: a point in the patient, LPS, mm
CENTRE: Final = tuple(
    DicomCode(f"CENTRE-{axis}", PRIVATE_SCHEME, f"Centre {axis} in patient coordinates (LPS)")
    for axis in "XYZ"
)

_UNIT_MEANINGS: Final = {
    "1": "no units",
    "mm": "millimeter",
    "mm2": "square millimeter",
    "mm3": "cubic millimeter",
    "cm": "centimeter",
    "mL": "milliliter",
    "%": "percent",
    "[hnsf'U]": "Hounsfield unit",
}
#: procedures by modality, for studies that state no code (SNOMED CT)
_PROCEDURES: Final = {
    "CT": DicomCode("77477000", "SCT", "Computed tomography"),
    "MR": DicomCode("113091000", "SCT", "Magnetic resonance imaging"),
    "PT": DicomCode("82918005", "SCT", "Positron emission tomography"),
    "CR": DicomCode("168537006", "SCT", "Plain radiography"),
    "DX": DicomCode("168537006", "SCT", "Plain radiography"),
    "MG": DicomCode("71651007", "SCT", "Mammography"),
    "US": DicomCode("16310003", "SCT", "Ultrasonography"),
    "XA": DicomCode("77343006", "SCT", "Angiography"),
    "RF": DicomCode("44491008", "SCT", "Fluoroscopy"),
}
_ANY_PROCEDURE: Final = DicomCode("363679005", "SCT", "Imaging")


def coded(label: str, code: Code | None) -> DicomCode:
    """Return ``code`` as pydicom has it, or a private code that stands for ``label``."""
    if code is not None:
        return DicomCode(code.value, code.scheme, code.meaning[:_LONGEST_MEANING])
    return DicomCode(_private_value(label), PRIVATE_SCHEME, label[:_LONGEST_MEANING])


def unit(ucum: str) -> DicomCode:
    """Return a UCUM unit; an empty one is dimensionless, "HU" is written as UCUM has it."""
    value = {"": "1", "HU": "[hnsf'U]"}.get(ucum, ucum)
    return DicomCode(value, "UCUM", _UNIT_MEANINGS.get(value, value)[:_LONGEST_MEANING])


def procedure(modality: str) -> DicomCode:
    """Return the imaging procedure behind a modality (PS3.16 CID 100), 'Imaging' where unknown."""
    return _PROCEDURES.get(modality, _ANY_PROCEDURE)


def private_scheme() -> Dataset:
    """Return the item of Coding Scheme Identification Sequence that explains our own codes."""
    item = Dataset()
    item.CodingSchemeDesignator = PRIVATE_SCHEME
    item.CodingSchemeName = "Nightshift private codes"
    item.CodingSchemeResponsibleOrganization = "Nightshift"
    return item


def _private_value(label: str) -> str:
    """Return at most 16 characters; long labels that begin alike differ by a checksum."""
    value = re.sub(r"[^A-Z0-9]+", "-", label.upper()).strip("-")
    if value and len(value) <= _LONGEST_VALUE:
        return value
    checksum = hashlib.sha256(label.encode()).hexdigest()[:7].upper()
    return f"{value[: _LONGEST_VALUE - 8]}-{checksum}"
