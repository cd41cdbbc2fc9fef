"""Synthetic CT studies as a PACS would export them: one file per slice, random names, shuffled.

The phantom has a body, lungs, a spine, round "organs", a table and noise, so that masks, crops and
label maps cost what they cost on real CT. Same arguments, same bytes.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SPACING_MM = 0.78
THICKNESS_MM = 2.5


def make(folder: Path, *, studies: int, slices: int, size: int) -> list[Path]:
    """Write what is not there yet; return one folder for each study."""
    made = []
    for number in range(studies):
        study = folder / f"{slices}x{size}" / f"study{number:03d}"
        complete = study.with_suffix(".complete")
        if not complete.exists():
            _write_study(study, number, slices, size)
            complete.touch()
        made.append(study)
    return made


def dicom_files(study: Path) -> list[Path]:
    """Return the files of one study, sorted by name."""
    return sorted(study.glob("*.dcm"))


def _write_study(study: Path, seed: int, slices: int, size: int) -> None:
    study.mkdir(parents=True, exist_ok=True)
    stored = _phantom(slices, size, np.random.default_rng(seed))
    names = random.Random(seed)  # noqa: S311, file names, no secrets
    order = list(range(slices))
    names.shuffle(order)
    for number in order:
        path = study / f"{names.getrandbits(64):016x}.dcm"
        _slice(stored, number, seed).save_as(path, enforce_file_format=True)


def _phantom(slices: int, size: int, rng: np.random.Generator) -> NDArray[np.int16]:
    """Return stored values (slope 1, intercept -1024), shape (slices, size, size)."""
    axes = [np.linspace(-1, 1, count, dtype=np.float32) for count in (slices, size, size)]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    values = np.full((slices, size, size), -1000.0, np.float32)
    outline = (x / 0.72) ** 2 + (y / 0.52) ** 2 + 0 * z
    values[outline < 1] = 40
    values[(outline > 0.88) & (outline < 1)] = -90
    for side in (-1, 1):
        lung = ((x - side * 0.33) / 0.24) ** 2 + (y / 0.33) ** 2 + ((z - 0.6) / 0.7) ** 2
        values[lung < 1] = -820
    values[(x / 0.09) ** 2 + ((y - 0.34) / 0.09) ** 2 + 0 * z < 1] = 450
    for _ in range(8):
        cx, cy, cz = rng.uniform(-0.35, 0.35), rng.uniform(-0.25, 0.25), rng.uniform(-0.9, 0.1)
        radius = rng.uniform(0.05, 0.18)
        organ = (x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2 < radius**2
        values[organ] = rng.uniform(20, 160)
    table = slice(int(size * 0.84), int(size * 0.86)), slice(int(size * 0.2), int(size * 0.8))
    values[:, table[0], table[1]] = -300
    noise = rng.standard_normal((size, size * 2), dtype=np.float32) * 14
    for number in range(slices):
        first = int(rng.integers(0, size))
        values[number] += np.roll(noise[:, first : first + size], int(rng.integers(0, size)), 0)
    return np.clip(values + 1024, 0, 4095).astype(np.int16)


def _slice(stored: NDArray[np.int16], number: int, seed: int) -> Dataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[f"slice {seed} {number}"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=[f"study {seed}"])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[f"series {seed}"])
    dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=[f"frame {seed}"])
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Modality = "CT"
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = "20240102"
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = "101112"
    dataset.PatientName, dataset.PatientID = f"Synthetic^{seed:05d}", f"P{seed:05d}"
    dataset.PatientBirthDate, dataset.PatientSex = "19600101", "O"
    dataset.AccessionNumber, dataset.StudyID = f"A{seed:05d}", "1"
    dataset.SeriesNumber, dataset.InstanceNumber = 3, number + 1
    dataset.SliceThickness, dataset.PatientPosition = THICKNESS_MM, "HFS"
    size = stored.shape[1]
    corner = round(-size * SPACING_MM / 2, 4)
    place = round(-300 + number * THICKNESS_MM, 4)
    dataset.ImagePositionPatient = [corner, corner, place]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [SPACING_MM, SPACING_MM]
    dataset.Rows, dataset.Columns = stored.shape[1:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = -1024, 1, "HU"
    dataset.PixelData = stored[number].tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset
