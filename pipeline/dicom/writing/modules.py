"""Modules that written objects share: whose they are, who made them, how the file begins."""

from __future__ import annotations

from typing import Final

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as DicomCode
from pydicom.uid import UID

from pipeline.dicom.writing.provenance import Provenance

#: of patient and study, as the source has them (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2)
_FROM_SOURCE: Final = (
    "SpecificCharacterSet",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyID",
    "StudyDescription",
    "ReferringPhysicianName",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)
_SCANNER: Final = (
    "Manufacturer",
    "InstitutionName",
    "StationName",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
)
#: parts of the body there is one of (PS3.16 Annex L)
_UNPAIRED_PARTS: Final = (
    "ABDOMEN ABDOMENPELVIS AORTA BLADDER BRAIN CHEST CHESTABDPELVIS CHESTABDOMEN COCCYX COLON "
    "CSPINE ESOPHAGUS FACE GALLBLADDER HEAD HEADNECK HEART JAW LARYNX LIVER LSPINE MAXILLA "
    "MEDIASTINUM NECK NECKCHEST NECKCHESTABDOMEN NECKCHESTABDPELV NOSE PANCREAS PELVIS PENIS "
    "PHARYNX PROSTATE RECTUM SKULL SPINE SPLEEN SSPINE STERNUM STOMACH THYROID TONGUE TRACHEA "
    "TSPINE UTERUS WHOLEBODY"
)
_UNPAIRED: Final = frozenset(_UNPAIRED_PARTS.split())
_IMPLEMENTATION: Final = UID("2.25.221312163283541034291276826914817331204")


def patient_and_study(template: Dataset) -> Dataset:
    """Return what an object takes over from its source, lossy compression included."""
    dataset = Dataset()
    for keyword in _FROM_SOURCE:
        if keyword in template:
            dataset.add(template[keyword])
    for keyword in ("PatientSize", "PatientWeight"):
        if template.get(keyword):  # zero stands for unknown
            dataset.add(template[keyword])
    is_removed = dataset.get("PatientIdentityRemoved") == "YES"
    if is_removed and "DeidentificationMethodCodeSequence" not in dataset:
        # required together (PS3.3 C.7.1.1), and not every source obeys
        dataset.setdefault("DeidentificationMethod", "not stated by the source")
    is_lossy = template.get("LossyImageCompression") == "01"
    dataset.LossyImageCompression = "01" if is_lossy else "00"
    return dataset


def add_equipment(dataset: Dataset, template: Dataset, provenance: Provenance) -> None:
    """Add the software that wrote the object and, beside it, the scanner of the source."""
    dataset.Manufacturer = "Nightshift"
    dataset.ManufacturerModelName = plain_text(provenance.model_name)
    dataset.SoftwareVersions = f"Nightshift {provenance.software_version}"[:64]
    dataset.DeviceSerialNumber = provenance.model_digest[:16] or "0"
    if not template.get("Manufacturer"):
        return
    scanner = Dataset()
    for keyword in _SCANNER:
        if template.get(keyword):
            scanner.add(template[keyword])
    scanner.PurposeOfReferenceCodeSequence = [coded(codes.DCM.AcquisitionEquipment)]
    dataset.ContributingEquipmentSequence = [scanner]


def add_body_part(dataset: Dataset, template: Dataset) -> None:
    """Add which part of the body it is, and on which side.

    Of a paired structure, or where the part is not known, the side may be unknown but not absent;
    of an unpaired one it must be absent (PS3.3 C.7.3.1).
    """
    for keyword in ("BodyPartExamined", "Laterality"):
        if template.get(keyword):
            dataset.add(template[keyword])
    if "Laterality" not in dataset and dataset.get("BodyPartExamined") not in _UNPAIRED:
        dataset.Laterality = ""


def plain_text(value: str, longest: int = 64) -> str:
    """Return a name as LO and SH can hold it: one value, printable, so short (PS3.5 6.2).

    Names of labels and maps come with models; a backslash in one would make two values of it.
    """
    words = " ".join(value.replace("\\", "/").split())
    return "".join(letter for letter in words if letter.isprintable())[:longest].strip()


def coded(concept: DicomCode) -> Dataset:
    """Return the item of a code sequence (PS3.3 8.8)."""
    dataset = Dataset()
    if len(concept.value) > 16:  # more than its VR can hold (PS3.3 8.8)
        dataset.LongCodeValue = concept.value
    else:
        dataset.CodeValue = concept.value
    dataset.CodingSchemeDesignator = concept.scheme_designator
    dataset.CodeMeaning = plain_text(concept.meaning)
    return dataset


def add_file_meta(dataset: Dataset, transfer_syntax: UID) -> None:
    """Add the file meta information (PS3.10 7.1)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = transfer_syntax
    meta.ImplementationClassUID = _IMPLEMENTATION
    meta.ImplementationVersionName = "NIGHTSHIFT"
    dataset.file_meta = meta
