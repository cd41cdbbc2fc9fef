"""CT studies of one blob each on random grids, whose place in the patient is known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
)
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]

_AIR, _WATER = -1000, 0


@dataclass(frozen=True)
class Blob:
    """An ellipsoid on a grid; ``affine`` maps (slice, row, column, 1) to LPS mm."""

    study: str
    affine: Array
    mask: NDArray[np.bool_]
    centre: Array
    #: half axes along (slices, rows, columns) in mm
    radii: Array

    @property
    def spacing(self) -> Array:
        """Distance between (slices, rows, columns) in mm."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def voxel_centroid(self) -> Array:
        """Mean of the centres of the voxels, in mm."""
        index = np.argwhere(self.mask).mean(axis=0)
        return np.asarray(self.affine[:3, :3] @ index + self.affine[:3, 3])

    @property
    def voxel_volume(self) -> float:
        """Volume of the voxels in mm3."""
        return float(self.mask.sum() * self.spacing.prod())


def make(number: int) -> Blob:
    """Make a blob; every 24 numbers run through all orders and signs of the axes."""
    rng = np.random.default_rng(number)
    shape = rng.integers((10, 14, 12), (16, 22, 24))
    spacing = rng.uniform((0.8, 0.4, 0.4), (5.0, 2.5, 2.5))
    row, column = _directions(number, rng)
    normal = np.cross(row, column)
    # as a file keeps them: decimal strings of at most 16 characters
    spacing, row, column = spacing.round(4), row.round(12), column.round(12)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([normal, column, row], axis=1) * spacing
    affine[:3, 3] = rng.uniform(-300, 300, 3).round(4)
    middle = shape * rng.uniform(0.35, 0.65, 3)
    radii_index = np.minimum(middle, shape - 1 - middle) * rng.uniform(0.5, 0.8, 3)
    grid = np.stack(np.indices(shape), axis=-1)
    mask = (((grid - middle) / radii_index) ** 2).sum(axis=-1) <= 1
    return Blob(
        study=f"2.25.{1000 + number}",
        affine=affine,
        mask=mask,
        centre=affine[:3, :3] @ middle + affine[:3, 3],
        radii=radii_index * spacing,
    )


def _directions(number: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return row and column cosines: a turn of the cube, for every second number tilted freely."""
    turn = Rotation.create_group("O").as_matrix()[number % 24]
    if number % 2:
        turn = Rotation.random(random_state=rng).as_matrix() @ turn
    return turn[:, 0], turn[:, 1]


def write(blob: Blob, folder: Path, *, enhanced: bool) -> None:
    """Write the study: slices in files of their own, or frames of one file, in random order."""
    folder.mkdir(parents=True)
    stored = np.where(blob.mask, _WATER, _AIR).astype(np.int16)
    order = np.random.default_rng(len(stored)).permutation(len(stored))
    if enhanced:
        _save(_enhanced(blob, stored, order), folder / "frames.dcm")
        return
    for name, index in enumerate(order):
        _save(_slice(blob, stored[index], int(index), name), folder / f"{name:03}.dcm")


def _common(blob: Blob, sop_class: str, number: int) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = UID(sop_class), UID(f"{blob.study}.1.{number}")
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = UID(blob.study), UID(f"{blob.study}.1")
    dataset.FrameOfReferenceUID = UID(f"{blob.study}.2")
    dataset.PatientName, dataset.PatientID = "Round^Trip", "RT"
    dataset.PatientBirthDate, dataset.PatientSex = "", "O"
    dataset.StudyID, dataset.StudyDate, dataset.StudyTime = "1", "20260102", "030405"
    dataset.AccessionNumber, dataset.ReferringPhysicianName = "", ""
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "CT", 1, number
    dataset.Manufacturer = "Nightshift"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = 1
    _, dataset.Rows, dataset.Columns = blob.mask.shape
    return dataset


def _orientation(blob: Blob) -> list[float]:
    directions = blob.affine[:3, :3] / blob.spacing
    return [round(float(x), 12) for x in (*directions[:, 2], *directions[:, 1])]


def _position(blob: Blob, index: int) -> list[float]:
    return [round(float(x), 9) for x in blob.affine[:3, 0] * index + blob.affine[:3, 3]]


def _slice(blob: Blob, stored: NDArray[np.int16], index: int, name: int) -> Dataset:
    dataset = _common(blob, CTImageStorage, name + 1)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.ImageOrientationPatient = _orientation(blob)
    dataset.ImagePositionPatient = _position(blob, index)
    dataset.PixelSpacing = [float(x) for x in blob.spacing[1:].round(4)]
    dataset.SliceThickness = 1.0
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, 0, "HU"
    dataset.PixelData = stored.tobytes()
    return dataset


def _enhanced(blob: Blob, stored: NDArray[np.int16], order: NDArray[np.int64]) -> Dataset:
    dataset = _common(blob, EnhancedCTImageStorage, 1)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.NumberOfFrames = len(stored)
    measures, plane, values = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [float(x) for x in blob.spacing[1:].round(4)]
    measures.SliceThickness = 1.0
    plane.ImageOrientationPatient = _orientation(blob)
    values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 1, 0, "HU"
    shared = Dataset()
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    shared.PixelValueTransformationSequence = [values]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [_frame(blob, int(index)) for index in order]
    dataset.PixelData = stored[order].tobytes()
    return dataset


def _frame(blob: Blob, index: int) -> Dataset:
    place, group = Dataset(), Dataset()
    place.ImagePositionPatient = _position(blob, index)
    group.PlanePositionSequence = [place]
    return group


def _save(dataset: Dataset, path: Path) -> None:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(path, dataset, enforce_file_format=True)
