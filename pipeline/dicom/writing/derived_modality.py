"""What the modules of CT, MR and PET images ask of a derived one, taken over from its source."""

from __future__ import annotations

from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    SecondaryCaptureImageStorage,
)

from pipeline.dicom.writing.modules import add_body_part

#: of series and acquisition, the same for every slice
_ALL: Final = (
    "PatientPosition",
    "ProtocolName",
    "ContrastBolusAgent",
    "ContrastBolusRoute",
    "WindowCenter",
    "WindowWidth",
)
#: and by modality: PS3.3 C.8.2.1, C.8.3.1, C.8.9.1 to C.8.9.4
_OF_CLASS: Final[dict[UID, tuple[str, ...]]] = {
    CTImageStorage: ("KVP", "AcquisitionNumber", "ConvolutionKernel", "XRayTubeCurrent"),
    MRImageStorage: (
        "ScanningSequence",
        "SequenceVariant",
        "ScanOptions",
        "MRAcquisitionType",
        "SequenceName",
        "RepetitionTime",
        "EchoTime",
        "EchoTrainLength",
        "InversionTime",
        "MagneticFieldStrength",
        "FlipAngle",
        "AcquisitionNumber",
    ),
    PositronEmissionTomographyImageStorage: (
        # the radioactivity of PET images is that at a time of the source: it must not change
        "SeriesDate",
        "SeriesTime",
        "AcquisitionDate",
        "AcquisitionTime",
        "Units",
        "SUVType",
        "CountsSource",
        "SeriesType",
        "CorrectedImage",
        "DecayCorrection",
        "RandomsCorrectionMethod",
        "AttenuationCorrectionMethod",
        "ScatterCorrectionMethod",
        "ReconstructionMethod",
        "CollimatorType",
        "RadiopharmaceuticalInformationSequence",
        "PatientOrientationCodeSequence",
        "PatientGantryRelationshipCodeSequence",
        "FrameReferenceTime",
        "ActualFrameDuration",
        "DecayFactor",
    ),
}
#: what an image of the class cannot be without, and what it says where the source does not (type 1)
_NEEDED: Final[dict[UID, dict[str, Any]]] = {
    CTImageStorage: {},
    MRImageStorage: {"ScanningSequence": "RM", "SequenceVariant": "NONE"},
    PositronEmissionTomographyImageStorage: {},
}
#: type 2: present, may be empty
_MAY_BE_EMPTY: Final[dict[UID, tuple[str, ...]]] = {
    CTImageStorage: ("PatientPosition", "KVP", "AcquisitionNumber"),
    MRImageStorage: (
        "PatientPosition",
        "ScanOptions",
        "MRAcquisitionType",
        "RepetitionTime",
        "EchoTime",
        "EchoTrainLength",
    ),
    PositronEmissionTomographyImageStorage: (
        "CorrectedImage",
        "CollimatorType",
        "RadiopharmaceuticalInformationSequence",
        "PatientOrientationCodeSequence",
        "PatientGantryRelationshipCodeSequence",
        "ActualFrameDuration",
    ),
}
_PET_MUST: Final = (
    "SeriesDate",
    "SeriesTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "Units",
    "CountsSource",
    "SeriesType",
    "DecayCorrection",
    "FrameReferenceTime",
)
_BY_MODALITY: Final = {
    "CT": CTImageStorage,
    "MR": MRImageStorage,
    "PT": PositronEmissionTomographyImageStorage,
}
#: SUV by body weight (PS3.3 C.8.9.1.1.3), as ``Volume.unit`` names it
_SUV_UNIT: Final = "g/mL"


def storage_class(template: Dataset) -> UID:
    """Return the class of a slice derived from a volume.

    CT and MR slices, single-frame ones also of an enhanced source; PET slices where the source
    says all that a PET image must; everything else becomes a Secondary Capture with a place.
    """
    found = _BY_MODALITY.get(template.Modality, SecondaryCaptureImageStorage)
    is_pet = found == PositronEmissionTomographyImageStorage
    if is_pet and not all(template.get(keyword) for keyword in _PET_MUST):
        return SecondaryCaptureImageStorage
    return found


def add_modality(dataset: Dataset, template: Dataset, unit: str) -> None:
    """Add what the class of ``dataset`` asks beyond place and pixels."""
    sop_class = UID(dataset.SOPClassUID)
    add_body_part(dataset, template)
    for keyword in (*_ALL, *_OF_CLASS.get(sop_class, ())):
        if keyword in template:
            dataset.add(template[keyword])
    _fill(dataset, sop_class)
    if sop_class == PositronEmissionTomographyImageStorage:
        dataset.pop("PatientPosition", None)  # Patient Orientation Code Sequence stands for it
        if unit == _SUV_UNIT:
            dataset.Units, dataset.SUVType = "GML", "BW"
    if ("WindowCenter" in dataset) != ("WindowWidth" in dataset):
        for keyword in ("WindowCenter", "WindowWidth"):
            dataset.pop(keyword, None)


def _fill(dataset: Dataset, sop_class: UID) -> None:
    """Add what the class cannot be without and the source does not say."""
    for keyword, value in _NEEDED.get(sop_class, {}).items():
        if not dataset.get(keyword):
            setattr(dataset, keyword, value)
    for keyword in _MAY_BE_EMPTY.get(sop_class, ()):
        if keyword not in dataset:
            setattr(dataset, keyword, [] if keyword.endswith("Sequence") else "")


def image_type(template: Dataset, sop_class: UID, what: str) -> list[str]:
    """Return DERIVED, SECONDARY, what the class asks as the third value, and ``what``.

    PET knows no SECONDARY (PS3.3 C.8.9.4.1.1).
    """
    stated = [str(value) for value in template.get("ImageType") or ()]
    third = stated[2] if len(stated) > 2 and sop_class == MRImageStorage else "OTHER"
    if sop_class == CTImageStorage:
        third = "AXIAL"  # PS3.3 C.8.2.1.1.1 knows only this and LOCALIZER
    second = "PRIMARY" if sop_class == PositronEmissionTomographyImageStorage else "SECONDARY"
    return ["DERIVED", second, third, what]
