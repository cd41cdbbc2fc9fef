"""Numbers per voxel as DICOM Parametric Map objects (PS3.3 A.75) on the grid of their source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as DicomCode
from pydicom.uid import ExplicitVRLittleEndian, ParametricMapStorage

from pipeline.dicom.writing import concepts, multiframe
from pipeline.dicom.writing.elements import native
from pipeline.dicom.writing.modules import coded, plain_text
from pipeline.dicom.writing.multiframe import Frame, Identity, Target, target_of
from pipeline.dicom.writing.provenance import Provenance
from pipeline.dicom.writing.slices import on_source
from pipeline.dicom.writing.source_images import decimal_string
from pipeline.errors import StudyRejected
from pipeline.reasons import Reason
from pipeline.results import ValueMap
from pipeline.volume import Input

_SERIES_NUMBER: Final = 9004
_FRAME_TYPE: Final = ["DERIVED", "PRIMARY", "VOLUME", "QUANTITY"]
_HOW: Final = DicomCode("112187", "DCM", "Unspecified method of calculation")
_ANYWHERE: Final = DicomCode("123037004", "SCT", "Anatomical Structure")
#: Body Part Examined -> region (PS3.16 Annex L), of the parts that are examined most
_REGIONS: Final = {
    "ABDOMEN": DicomCode("113345001", "SCT", "Abdomen"),
    "BRAIN": DicomCode("12738006", "SCT", "Brain"),
    "BREAST": DicomCode("76752008", "SCT", "Breast"),
    "CHEST": DicomCode("51185008", "SCT", "Chest"),
    "HEAD": DicomCode("69536005", "SCT", "Head"),
    "HEART": DicomCode("80891009", "SCT", "Heart"),
    "KNEE": DicomCode("72696002", "SCT", "Knee"),
    "LIVER": DicomCode("10200004", "SCT", "Liver"),
    "NECK": DicomCode("45048000", "SCT", "Neck"),
    "PELVIS": DicomCode("12921003", "SCT", "Pelvis"),
    "PROSTATE": DicomCode("41216001", "SCT", "Prostate"),
}


def write_parametric_map(
    source: Input, maps: Sequence[ValueMap], provenance: Provenance
) -> tuple[bytes, ...]:
    """Encode each map as one instance; together they are one series.

    Args:
        source: what the maps are of; its ``header`` gives patient, study and the slices' UIDs.
        maps: finite float32 (slices, rows, columns) on the grid of ``source``.
        provenance: the same provenance and maps give the same bytes.

    Returns:
        One DICOM file per map, float pixels as they are (mapping to real world: the identity).

    Raises:
        ValueError: no header, a shape other than the source's, a value that is not finite.
        StudyRejected: the source has no place in the patient, which a Parametric Map must have
            (PS3.3 Table A.75-1); or more pixels than one object can hold.

    """
    target = target_of(source)
    if target.slices.place is None:
        sentence = "an image without a place in the patient cannot have a DICOM Parametric Map"
        raise StudyRejected(sentence, Reason.SERIES_NO_PLACE)
    files = []
    for number, one in enumerate(maps, start=1):
        values = on_source(source, one.values).astype("<f4", copy=False)
        if not np.isfinite(values).all():
            raise ValueError("the values of a parametric map are finite")
        identity = _identity(one, number, target.header.modality, provenance)
        files.append(_encode(target, identity, one, values, provenance))
    return tuple(files)


def _identity(one: ValueMap, number: int, modality: str, provenance: Provenance) -> Identity:
    prefix = "DEMO " if provenance.is_demonstration else ""
    return Identity(
        sop_class_uid=ParametricMapStorage,
        modality=modality,
        sop_instance_uid=provenance.uid(f"parametric map {number}"),
        series_instance_uid=provenance.uid("parametric map series"),
        series_number=_SERIES_NUMBER,
        instance_number=number,
        series_description=f"{prefix}{provenance.model_name} {provenance.model_version} maps",
        content_label="MAP",
        content_description=f"{prefix}{one.name}, not for clinical use",
    )


def _encode(
    target: Target,
    identity: Identity,
    one: ValueMap,
    values: NDArray[np.float32],
    provenance: Provenance,
) -> bytes:
    """Return the file of one map (slices, rows, columns)."""
    dataset = multiframe.start(target, identity, provenance)
    dataset.ImageType = _FRAME_TYPE
    dataset.BitsAllocated = 32
    dataset.PixelPresentation = "MONOCHROME"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.ContentQualification = "RESEARCH"
    dataset.BurnedInAnnotation = "NO"
    dataset.RecognizableVisualFeatures = "NO"
    dataset.AcquisitionContextSequence = []
    frames = [Frame(slice=index) for index in range(len(values))]
    # the series shares one organization: a position has the same index in all its maps
    organization = provenance.uid("parametric map dimension organization")
    per_frame = multiframe.add_frames(dataset, target.slices, frames, _HOW, organization)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    lowest, highest = float(values.min()), float(values.max())
    shared.FrameAnatomySequence = [_anatomy(target.template)]
    shared.FrameVOILUTSequence = [_window(lowest, highest)]
    shared.PixelValueTransformationSequence = [_identity_transformation()]
    shared.ParametricMapFrameTypeSequence = [_frame_type()]
    shared.RealWorldValueMappingSequence = [_real_world(one, lowest, highest)]
    pixels = native(0x7FE00008, "OF", [values.data])
    return multiframe.to_file(dataset, ExplicitVRLittleEndian, per_frame, pixels)


def _anatomy(template: Dataset) -> Dataset:
    """Say which part of the body it is, as far as the source does (PS3.3 C.7.6.16.2.8)."""
    item = Dataset()
    laterality = template.get("ImageLaterality") or template.get("Laterality")
    item.FrameLaterality = laterality if laterality in {"L", "R", "B"} else "U"
    part = str(template.get("BodyPartExamined", "")).upper()
    item.AnatomicRegionSequence = [coded(_REGIONS.get(part, _ANYWHERE))]
    return item


def _window(lowest: float, highest: float) -> Dataset:
    """Show the whole range (PS3.3 C.7.6.16.2.10b); the width of LINEAR_EXACT is positive."""
    item = Dataset()
    item.WindowCenter = decimal_string((lowest + highest) / 2)
    item.WindowWidth = decimal_string(highest - lowest or 1.0)
    item.VOILUTFunction = "LINEAR_EXACT"
    return item


def _identity_transformation() -> Dataset:
    item = Dataset()
    item.RescaleIntercept, item.RescaleSlope, item.RescaleType = "0", "1", "US"
    return item


def _frame_type() -> Dataset:
    item = Dataset()
    item.FrameType = _FRAME_TYPE
    return item


def _real_world(one: ValueMap, lowest: float, highest: float) -> Dataset:
    """Say what a stored value means: itself, in a unit, of a quantity (PS3.3 C.7.6.16.2.11)."""
    item = Dataset()
    item.LUTLabel = plain_text(one.name, 16) or "MAP"
    item.LUTExplanation = plain_text(one.name)
    item.MeasurementUnitsCodeSequence = [coded(_unit(one.unit))]
    item.DoubleFloatRealWorldValueFirstValueMapped = lowest
    item.DoubleFloatRealWorldValueLastValueMapped = highest
    item.RealWorldValueIntercept, item.RealWorldValueSlope = 0.0, 1.0
    quantity = Dataset()
    quantity.ValueType = "CODE"
    quantity.ConceptNameCodeSequence = [coded(codes.SCT.Quantity)]
    quantity.ConceptCodeSequence = [coded(concepts.coded(one.name, one.code))]
    item.QuantityDefinitionSequence = [quantity]
    return item


def _unit(unit: str) -> DicomCode:
    return DicomCode(unit, "UCUM", "no units" if unit == "1" else unit)
