"""Findings as a Comprehensive 3D SR by TID 1500, Measurement Report (PS3.16 A)."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterable, Sequence
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
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian

from pipeline.dicom.writing import concepts, elements, sr_items
from pipeline.dicom.writing.image_library import image_library
from pipeline.dicom.writing.modules import patient_and_study
from pipeline.dicom.writing.provenance import Provenance
from pipeline.dicom.writing.source_images import source_dataset
from pipeline.dicom.writing.sr_groups import GroupWriter, SegReference
from pipeline.results import Finding, Segment
from pipeline.volume import Input, SourceHeader, SourceInstance

_SERIES_NUMBER: Final = 9005
_NAMESPACE: Final = uuid.UUID("0c9b7c62-7d0a-5f0e-9a53-8a3c1f5f2b61")
_EVIDENCE: Final = Tag("CurrentRequestedProcedureEvidenceSequence")
_CONTENT: Final = Tag("ContentSequence")
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
    headers = (source.header, *source.header.beside)
    images = [
        (source_dataset(header, header.instances[0]), _once(header.instances)) for header in headers
    ]
    first = images[0][0]
    report = MeasurementReport(
        observation_context=_observer(provenance),
        procedure_reported=_procedures(first),
        imaging_measurements=list(GroupWriter(source, provenance, segmentation).groups(findings)),
        title=codes.cid7021.ImagingMeasurementReport,
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(
            CodedConcept("en", "RFC5646", "English")
        ),
    )
    # highdicom copies, walks and converts all that a document is given, so it gets what a report
    # has little of. Nor does it look for references without evidence then: all are of the source.
    measurements = report[0].ContentSequence[-1]
    del report[0].ContentSequence[-1]
    document = _document(report, first, provenance)
    repeated = [image_library(*images), elements.item(elements.of_dataset(measurements))]
    return _to_file(document, _evidence(headers, segmentation), repeated)


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


def _once(slices: Sequence[SourceInstance]) -> list[SourceInstance]:
    """Return every instance once: a multi-frame one is behind many slices."""
    first: dict[str, SourceInstance] = {}
    for instance in slices:
        first.setdefault(instance.sop_instance_uid, instance)
    return list(first.values())


def _document(report: MeasurementReport, first: Dataset, provenance: Provenance) -> Dataset:
    """Return the document without measurements and with the first image as its only evidence."""
    document = Comprehensive3DSR(
        evidence=[first],
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
    _fix_origin(document, provenance)
    method = patient_and_study(first).get("DeidentificationMethod")
    if method:  # highdicom takes over that the identity was removed, not always how
        document.DeidentificationMethod = method
    return document


def _to_file(document: Dataset, evidence: bytes, repeated: Iterable[bytes]) -> bytes:
    """Return a DICOM file: the document with this evidence, and these items behind its content.

    The elements of a document come in the order of their tags, the content last.
    """
    content = document.ContentSequence
    behind = Dataset()
    for tag in [tag for tag in document.keys() if tag >= _EVIDENCE]:  # noqa: SIM118 - tags
        if tag not in (_EVIDENCE, _CONTENT):
            behind.add(document[tag])
        del document[tag]
    buffer = io.BytesIO()
    document.save_as(buffer, enforce_file_format=True)
    items = [elements.item(elements.of_dataset(item)) for item in content]
    return b"".join(
        [
            buffer.getvalue(),
            evidence,
            elements.of_dataset(behind),
            sr_items.content(*items, *repeated),
        ]
    )


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


def _evidence(headers: Sequence[SourceHeader], segmentation: SegReference | None) -> bytes:
    """Return all that the report rests on, encoded: the source, and a segmentation of it."""
    # two inputs may be phases of one series
    by_series: dict[str, list[SourceInstance]] = {}
    for header in headers:
        by_series.setdefault(header.series_instance_uid, []).extend(header.instances)
    series = {
        uid: [sr_items.instance(one.sop_class_uid, one.sop_instance_uid) for one in _once(slices)]
        for uid, slices in by_series.items()
    }
    if segmentation is not None:
        series[segmentation.series_instance_uid] = [
            sr_items.instance(segmentation.sop_class_uid, segmentation.sop_instance_uid)
        ]
    return sr_items.evidence(headers[0].study_instance_uid, series)


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
