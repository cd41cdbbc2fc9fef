"""Source images as writers need them, rebuilt from a ``SourceHeader``: no file is read again."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from typing import Any, Final

import pydicom
from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.valuerep import VR, validate_value

from pipeline.volume import SourceHeader, SourceInstance

#: type 2 attributes of the patient and study modules (PS3.3 C.7.1.1, C.7.2.1): present, may be
#: empty
_TYPE_2: Final = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
_TEXT: Final = frozenset(
    {VR.AE, VR.AS, VR.CS, VR.DA, VR.DT, VR.IS, VR.LO, VR.LT, VR.PN, VR.SH, VR.ST, VR.TM, VR.UI}
)
_SEXES: Final = frozenset({"M", "F", "O", ""})


def source_dataset(header: SourceHeader, instance: SourceInstance) -> Dataset:
    """Return one instance of ``header`` without pixels: the template with its identity and place.

    Of the template only what all slices share is true of an instance other than the first.
    """
    dataset = source_template(header)
    dataset.SOPClassUID = instance.sop_class_uid
    dataset.SOPInstanceUID = instance.sop_instance_uid
    if instance.position is not None:
        dataset.ImagePositionPatient = [decimal_string(value) for value in instance.position]
    return dataset


def own_frame_of_reference(series_instance_uid: str) -> str:
    """Return the frame of reference of a series that has positions but names none.

    Derived from the series alone, so that all objects derived from it agree.
    """
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, series_instance_uid).int}"


def decimal_string(value: float) -> str:
    """Return the closest decimal string of at most 16 characters (PS3.5 6.2, VR DS)."""
    text = repr(float(value))
    digits = 16
    while len(text) > 16:
        digits -= 1
        text = f"{value:.{digits}g}"
    return text


def source_template(header: SourceHeader) -> Dataset:
    """Return the header of the first instance, cleaned: patient, study, equipment, image.

    Text is Unicode, values that break their VR are left out, missing type 2 attributes are there
    and empty: one bad optional value must not cost a result.
    """
    raw = pydicom.dcmread(io.BytesIO(header.template), force=True)
    # of hundreds of frames, and nothing in it is true of the whole
    raw.pop(Tag("PerFrameFunctionalGroupsSequence"), None)
    raw.decode()
    dataset = Dataset()
    for element in _valid(raw):
        dataset.add(element)
    for keyword in _TYPE_2:
        if keyword not in dataset:
            setattr(dataset, keyword, "")
    if dataset.PatientSex not in _SEXES:
        dataset.PatientSex = ""
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.StudyInstanceUID = header.study_instance_uid
    dataset.SeriesInstanceUID = header.series_instance_uid
    dataset.Modality = header.modality
    frame = header.frame_of_reference_uid
    if not frame and header.instances[0].position is not None:
        frame = own_frame_of_reference(header.series_instance_uid)
    if frame:
        dataset.FrameOfReferenceUID = frame
    elif "FrameOfReferenceUID" in dataset:
        del dataset.FrameOfReferenceUID
    return dataset


def _valid(raw: Dataset) -> Iterator[DataElement]:
    """Yield the public elements whose values obey their VR, without pixels and overlays."""
    for tag in sorted(raw.keys()):
        if tag.is_private or tag.group >= 0x6000 or tag.element == 0:
            continue
        try:
            element = raw[tag]
            if element.VR == VR.DS:  # scanners write more than 16 characters; round, do not drop
                element = DataElement(
                    tag, VR.DS, [decimal_string(float(v)) for v in _values(element)]
                )
            elif element.VR in _TEXT:
                for value in _values(element):
                    validate_value(element.VR, str(value), config.RAISE)
        except (ValueError, TypeError, AttributeError, NotImplementedError, OverflowError):
            continue  # this one value is unusable; the object is valid without it
        yield element


def _values(element: DataElement) -> tuple[Any, ...]:
    if element.is_empty:
        return ()
    return tuple(element.value) if element.VM > 1 else (element.value,)
