"""What the identity map keeps of one instance: its UIDs, and who and which study it was."""

from __future__ import annotations

from typing import Any, Final

from pydicom.dataset import Dataset

from pipeline.deidentify.dataset import Deidentifier

#: patient and study modules as results carry them (PS3.3 C.7.1.1, C.7.2.1)
PATIENT: Final = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientBirthTime"),
    *("PatientSex", "OtherPatientIDsSequence", "OtherPatientIDs", "EthnicGroup"),
    "PatientComments",
)
STUDY: Final = (
    *("StudyDate", "StudyTime", "AccessionNumber", "IssuerOfAccessionNumberSequence", "StudyID"),
    *("ReferringPhysicianName", "StudyDescription", "PatientAge", "PatientSize", "PatientWeight"),
)


def originals_of(source: Dataset, made: Dataset, deidentifier: Deidentifier) -> dict[str, Any]:
    """Return, as JSON, new UIDs with the originals, patient, study and shift of one instance."""
    patient = deidentifier.identity.patient
    return {
        "uids": dict(deidentifier.replaced),
        "study": str(made.StudyInstanceUID),
        "pseudonym": deidentifier.key.pseudonym(patient),
        "shift": deidentifier.key.shift(patient),
        "patient_module": _json(source, PATIENT),
        "study_module": _json(source, STUDY),
    }


def _json(source: Dataset, keywords: tuple[str, ...]) -> dict[str, Any]:
    """Return elements in the DICOM JSON model (PS3.18 F), without those that cannot be read."""
    kept: dict[str, Any] = {}
    for keyword in keywords:
        try:
            if keyword in source:
                one = Dataset()
                one.add(source[keyword])
                kept |= one.to_json_dict()
        except Exception:  # noqa: BLE001, S112 - see elements.value_of
            continue
    return kept
