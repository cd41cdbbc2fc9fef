"""Findings as a Comprehensive 3D SR by TID 1500, Measurement Report (PS3.16 A)."""

from __future__ import annotations

import io
import uuid
from collections.abc import Sequence
from typing import Any, Final

import pydicom
from highdicom.sr import (
    CodedConcept,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    LanguageOfContentItemAndDescendants,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as DicomCode
from pydicom.uid import ExplicitVRLittleEndian

from pipeline.dicom.writing import concepts
from pipeline.dicom.writing.image_library import image_library
from pipeline.dicom.writing.modules import patient_and_study
from pipeline.dicom.writing.provenance import Provenance
from pipeline.dicom.writing.source_images import source_datasets
from pipeline.dicom.writing.sr_groups import Group, GroupWriter, SegReference
from pipeline.results import Finding, Segment
from pipeline.volume import Input

_SERIES_NUMBER: Final = 9005
_NAMESPACE: Final = uuid.UUID("0c9b7c62-7d0a-5f0e-9a53-8a3c1f5f2b61")
#: tags by which ``reference_to`` finds what it wants without decoding pixels
_REFERENCE_TAGS: Final = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SegmentSequence")


def write_sr(
    source: Input,
    findings: Sequence[Finding],
    provenance: Provenance,
    *,
    segmentation: SegReference | None,
) -> bytes:
    """Encode ``findings`` as one SR instance in a series of its own.

    Args:
        source: what was analysed; its ``header`` gives patient, study and images.
        findings: in the order of the report; none is a report that says so.
        provenance: the same provenance and findings give the same bytes.
        segmentation: the SEG of the same findings, where one was written: segments are then
            referred to (TID 1411), else only named.

    Returns:
        A DICOM file, explicit little endian. Positions are patient coordinates, LPS, mm.

    Raises:
        ValueError: the source has no header.

    """
    if source.header is None:
        raise ValueError("a report needs the header of its source")
    images = _once(source_datasets(source.header))
    groups = list(GroupWriter(source, provenance, segmentation).groups(findings))
    report = MeasurementReport(
        observation_context=_observer(provenance),
        procedure_reported=_procedures(images[0]),
        imaging_measurements=groups[:1],
        title=codes.cid7021.ImagingMeasurementReport,
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(
            CodedConcept("en", "RFC5646", "English")
        ),
    )
    document = Comprehensive3DSR(
        evidence=[*images, *_evidence(images[0], segmentation)],
        content=report[0],
        series_instance_uid=provenance.uid("report series"),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=provenance.uid("report"),
        instance_number=1,
        manufacturer="Nightshift",
        is_complete=True,
        is_final=False,
        is_verified=False,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        specific_character_set="ISO_IR 192",
        **_equipment(provenance),
    )
    _complete(document, images, groups[1:])
    _fix_origin(document, provenance)
    method = patient_and_study(images[0]).get("DeidentificationMethod")
    if method:  # highdicom takes over that the identity was removed, not always how
        document.DeidentificationMethod = method
    buffer = io.BytesIO()
    document.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def reference_to(seg: bytes, segments: Sequence[Segment], provenance: Provenance) -> SegReference:
    """Return how a report refers to a SEG that was written with the same provenance.

    Segments are recognised by their tracking UIDs, whatever numbers they were given.
    """
    written = pydicom.dcmread(io.BytesIO(seg), specific_tags=list(_REFERENCE_TAGS))
    by_uid = {item.get("TrackingUID"): int(item.SegmentNumber) for item in written.SegmentSequence}
    uids = {one.number: provenance.uid(f"segment {one.number}") for one in segments}
    return SegReference(
        sop_class_uid=str(written.SOPClassUID),
        sop_instance_uid=str(written.SOPInstanceUID),
        series_instance_uid=str(written.SeriesInstanceUID),
        numbers={number: by_uid[uid] for number, uid in uids.items() if uid in by_uid},
    )


def _once(images: Sequence[Dataset]) -> list[Dataset]:
    """Return every instance once: of a multi-frame one there is a data set for each slice.

    It is the first that carries patient and study.
    """
    first: dict[str, Dataset] = {}
    for image in images:
        first.setdefault(image.SOPInstanceUID, image)
    return list(first.values())


def _complete(document: Any, images: Sequence[Dataset], groups: Sequence[Group]) -> None:
    """Add the image library and all groups but the first, which is there.

    highdicom copies, walks and converts all that it is given: with 120 images and 100 boxes that
    takes most of the time. Whatever is added refers to images that are in the evidence.
    """
    measurements = document.ContentSequence[-1]
    for group in groups:
        measurements.ContentSequence.extend(group)
    # before the measurements: the order of TID 1500
    document.ContentSequence.insert(len(document.ContentSequence) - 1, image_library(images))


def _observer(provenance: Provenance) -> ObservationContext:
    """Name the device that observed: this software in this version."""
    material = f"device/{provenance.software_version}"
    return ObservationContext(
        observer_device_context=ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
                uid=f"2.25.{uuid.uuid5(_NAMESPACE, material).int}",
                name="Nightshift",
                manufacturer_name="Nightshift",
                model_name=f"Nightshift {provenance.software_version}"[:64],
            ),
        )
    )


def _procedures(image: Dataset) -> list[DicomCode | CodedConcept]:
    """Return the procedures that the study states with a code, else one true of its modality."""
    found: list[DicomCode | CodedConcept] = []
    for item in image.get("ProcedureCodeSequence", ()):
        value, scheme = item.get("CodeValue"), item.get("CodingSchemeDesignator")
        if value and scheme and item.get("CodeMeaning"):
            version = item.get("CodingSchemeVersion")
            found.append(DicomCode(value, scheme, item.CodeMeaning, version))
    return found or [concepts.procedure(image.Modality)]


def _evidence(first: Dataset, segmentation: SegReference | None) -> list[Dataset]:
    if segmentation is None:
        return []
    written = Dataset()
    written.StudyInstanceUID = first.StudyInstanceUID
    written.SeriesInstanceUID = segmentation.series_instance_uid
    written.SOPClassUID = segmentation.sop_class_uid
    written.SOPInstanceUID = segmentation.sop_instance_uid
    return [written]


def _equipment(provenance: Provenance) -> dict[str, Any]:
    created = provenance.created_at
    prefix = "DEMO " if provenance.is_demonstration else ""
    name = f"{provenance.model_name} {provenance.model_version}"
    return {
        "manufacturer_model_name": provenance.model_name[:64],
        "software_versions": f"Nightshift {provenance.software_version}"[:64],
        "device_serial_number": provenance.model_digest[:16] or "0",
        "series_description": f"{prefix}{name} report"[:64],
        "content_date": created.date(),
        "content_time": created.time(),
        "series_date": created.date(),
        "series_time": created.time(),
    }


def _fix_origin(document: Any, provenance: Provenance) -> None:
    """Replace what highdicom takes from the clock, and explain our own codes."""
    created = provenance.created_at
    document.InstanceCreationDate = created.strftime("%Y%m%d")
    document.InstanceCreationTime = created.strftime("%H%M%S.%f")
    document.CodingSchemeIdentificationSequence = [concepts.private_scheme()]
    writer = document.ContributingEquipmentSequence[-1]
    writer.ContributionDateTime = created.strftime("%Y%m%d%H%M%S")
