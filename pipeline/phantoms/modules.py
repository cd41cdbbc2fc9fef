"""What the image modules of phantoms state, by modality (PS3.3 C.8)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
)

from pipeline.phantoms.anatomy import Phantom

FRAME_MS: Final = 40
_HALF_LIFE_S: Final = 6586.2
_WEIGHT_KG: Final = 70.0
#: what is left of the dose when the scan starts, Bq
_DOSE_LEFT: Final = 350e6
#: from 02:04:05 to 03:04:05
_UPTAKE_S: Final = 3600.0


def put_volume(dataset: Dataset, phantom: Phantom) -> None:
    """State class, acquisition and rescale of a volume."""
    dataset.SOPClassUID = _CLASSES[phantom.modality]
    match phantom.modality:
        case "CT":
            _put_ct(dataset)
        case "MR":
            _put_mr(dataset)
        case "PT":
            _put_pet(dataset, phantom)


def put_ultrasound(dataset: Dataset, frames: int, spacing: tuple[float, float]) -> None:
    """State an ultrasound still or loop; ``spacing`` is (between rows, between columns) in mm."""
    dataset.SOPClassUID = UltrasoundImageStorage
    dataset.ImageType, dataset.BodyPartExamined = ["ORIGINAL", "PRIMARY"], "LIVER"
    dataset.PatientOrientation = ""
    dataset.PixelSpacing = [decimal(value) for value in spacing]
    if frames > 1:
        dataset.SOPClassUID = UltrasoundMultiFrameImageStorage
        put_cine(dataset, frames)


def put_cine(dataset: Dataset, frames: int) -> None:
    """State how many frames follow each other, and how fast (PS3.3 C.7.6.5)."""
    dataset.NumberOfFrames, dataset.FrameTime = frames, FRAME_MS
    dataset.FrameIncrementPointer = 0x00181063


def put_slide(dataset: Dataset, tiles: NDArray[np.uint8], columns: int) -> None:
    """State how tiles (tiles, rows, columns, 3) lie, row by row (PS3.3 C.8.12.4)."""
    count, height, width = tiles.shape[:3]
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.NumberOfFrames = count
    dataset.DimensionOrganizationType = "TILED_FULL"
    dataset.TotalPixelMatrixColumns = columns * width
    dataset.TotalPixelMatrixRows = count // columns * height
    dataset.TotalPixelMatrixFocalPlanes = 1
    dataset.NumberOfOpticalPaths = 1
    dataset.ContainerIdentifier = "SLIDE"
    dataset.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]


def decimal(value: float) -> str:
    """Return a decimal string of at most 16 characters (PS3.5 6.2, VR DS)."""
    return f"{float(value):.9f}"[:16] if abs(value) < 1e5 else f"{float(value):.9e}"


_CLASSES: Final[dict[str, UID]] = {
    "CT": CTImageStorage,
    "MR": MRImageStorage,
    "PT": PositronEmissionTomographyImageStorage,
}


def _put_ct(dataset: Dataset) -> None:
    dataset.BodyPartExamined = "CHEST"
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = -1024, 1, "HU"
    dataset.KVP, dataset.AcquisitionNumber = 120, 1
    dataset.WindowCenter, dataset.WindowWidth = -600, 1500


def _put_mr(dataset: Dataset) -> None:
    dataset.BodyPartExamined = "HEAD"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    dataset.ScanningSequence, dataset.SequenceVariant = ["SE", "IR"], "SK"
    dataset.ScanOptions, dataset.MRAcquisitionType = "", "2D"
    dataset.RepetitionTime, dataset.EchoTime, dataset.EchoTrainLength = 9000, 110, 16
    dataset.InversionTime = 2500


def _put_pet(dataset: Dataset, phantom: Phantom) -> None:
    """State activity per volume, and the dose by which it becomes SUV by body weight."""
    dataset.BodyPartExamined, dataset.PatientWeight = "WHOLEBODY", _WEIGHT_KG
    dataset.ImageType, dataset.SeriesType = ["ORIGINAL", "PRIMARY"], ["STATIC", "IMAGE"]
    dataset.Units, dataset.CountsSource, dataset.DecayCorrection = "BQML", "EMISSION", "START"
    dataset.CorrectedImage, dataset.CollimatorType = ["DECY", "ATTN", "SCAT", "RAN"], "NONE"
    dataset.NumberOfSlices = phantom.volume.stored.shape[0]
    dataset.FrameReferenceTime, dataset.ActualFrameDuration = 60_000, 120_000
    per_suv = _DOSE_LEFT / (_WEIGHT_KG * 1000)
    dataset.RescaleIntercept = 0
    dataset.RescaleSlope = decimal(phantom.volume.slope * per_suv)
    given = Dataset()
    given.Radiopharmaceutical = "Fluorodeoxyglucose"
    given.RadiopharmaceuticalStartTime = "020405"
    given.RadionuclideHalfLife = _HALF_LIFE_S
    given.RadionuclideTotalDose = decimal(_DOSE_LEFT * 2 ** (_UPTAKE_S / _HALF_LIFE_S))
    dataset.RadiopharmaceuticalInformationSequence = [given]
