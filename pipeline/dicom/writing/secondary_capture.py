"""A page to look at in any viewer: what was found, by which model, on which slices."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from pipeline.dicom.writing.modules import (
    add_body_part,
    add_equipment,
    add_file_meta,
    patient_and_study,
)
from pipeline.dicom.writing.provenance import Provenance
from pipeline.dicom.writing.source_images import source_template
from pipeline.dicom.writing.source_references import source_images
from pipeline.overlay.summary import Heading, summary
from pipeline.results import Prediction
from pipeline.volume import Input

_SERIES_NUMBER: Final = 9007
#: whose scanners burn no names into slices
_NEVER_BURNED_IN: Final = frozenset({"CT", "MR", "PT"})


def write_summary(source: Input, prediction: Prediction, provenance: Provenance) -> bytes:
    """Draw a summary and encode it as one Secondary Capture, RGB, in a series of its own.

    It shows slices, findings and the model; nothing that identifies a patient is drawn.
    Burned In Annotation (PS3.3 C.7.6.1.1.2) asks whether there is text burned in that could
    identify the patient, and the slices are the source's own pixels: it is NO for CT, MR and
    PET volumes, and what the source says, else YES, for other images.

    Args:
        source: what was analysed, with its header.
        prediction: on the grid of ``source``.
        provenance: the same provenance and prediction give the same bytes.

    Raises:
        ValueError: no header.

    """
    header = source.header
    if header is None:
        raise ValueError("a summary needs the header of its source")
    template = source_template(header)
    page = np.asarray(summary(source, prediction, _heading(provenance)))
    created = provenance.created_at
    dataset = patient_and_study(template)
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = UID(provenance.uid("summary"))
    date, time = created.strftime("%Y%m%d"), created.strftime("%H%M%S")
    dataset.InstanceCreationDate = dataset.SeriesDate = dataset.ContentDate = date
    dataset.InstanceCreationTime = dataset.SeriesTime = dataset.ContentTime = time
    dataset.Modality = "OT"
    dataset.ConversionType = "WSD"
    dataset.ImageType = ["DERIVED", "SECONDARY", "OTHER", "SUMMARY"]
    dataset.SeriesInstanceUID = UID(provenance.uid("summary series"))
    dataset.SeriesNumber, dataset.InstanceNumber = _SERIES_NUMBER, 1
    prefix = "DEMO " if provenance.is_demonstration else ""
    name = f"{provenance.model_name} {provenance.model_version}"
    dataset.SeriesDescription = f"{prefix}{name} summary"[:64]
    dataset.PatientOrientation = ""
    dataset.BurnedInAnnotation = _burned_in(template)
    dataset.DerivationDescription = f"Summary of findings by {name}, not for clinical use"
    dataset.SourceImageSequence = source_images(
        header, range(len(header.instances)), is_same_grid=False
    )
    add_body_part(dataset, template)
    add_equipment(dataset, template, provenance)
    return _encode(dataset, page)


def _heading(provenance: Provenance) -> Heading:
    prefix = "Demonstration: " if provenance.is_demonstration else ""
    return Heading(
        title=f"{prefix}{provenance.model_name} {provenance.model_version}",
        lines=(
            f"model sha256 {provenance.model_digest[:16]}, step {provenance.step}",
            f"Nightshift {provenance.software_version}, job {provenance.job_id}",
        ),
        warning="Not for clinical use",
    )


def _burned_in(template: Dataset) -> str:
    stated = str(template.get("BurnedInAnnotation", ""))
    if stated in {"YES", "NO"}:
        return stated
    return "NO" if template.Modality in _NEVER_BURNED_IN else "YES"


def _encode(dataset: Dataset, page: NDArray[np.uint8]) -> bytes:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
    dataset.PlanarConfiguration, dataset.PixelRepresentation = 0, 0
    dataset.Rows, dataset.Columns = page.shape[:2]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.add_new("PixelData", "OB", page.tobytes() + b"\0" * (page.size % 2))
    add_file_meta(dataset, ExplicitVRLittleEndian)
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()
