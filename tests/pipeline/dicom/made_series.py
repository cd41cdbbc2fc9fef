"""Small DICOM series made for one test each: every pixel says where it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import dcmwrite
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from pipeline.dicom.reading import SeriesFiles, read
from pipeline.dicom.scan import ScannedFile, ScanReport, scan
from pipeline.dicom.series.grouping import IndexedSeries, IndexedStudy
from pipeline.reasons import Reason
from pipeline.volume import Image, Volume

ROWS, COLUMNS = 6, 8
STUDY, SERIES = "1.2.3.1", "1.2.3.1.1"


def pixels(number: int, rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    """Stored values of slice ``number``: 1000 x number + 10 x row + column."""
    grid = np.add.outer(10 * np.arange(rows), np.arange(columns))
    return (1000 * number + grid).astype(np.int16)


def instance(number: int, *, position: Sequence[float] | None = None) -> Dataset:
    """One CT slice; slices lie 5 mm apart along z where no position is given."""
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = UID(f"{SERIES}.{number + 1}")
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = UID(STUDY), UID(SERIES)
    dataset.FrameOfReferenceUID = UID("1.2.3.9")
    dataset.PatientID, dataset.PatientName = "P1", "Canary^Patient"
    dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.InstanceNumber, dataset.SeriesNumber = number + 1, 2
    dataset.ImagePositionPatient = list(position or (10.0, 20.0, 30.0 + 5.0 * number))
    dataset.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    dataset.PixelSpacing, dataset.SliceThickness = [2.0, 0.5], 7.0
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = 1
    dataset.Rows, dataset.Columns = ROWS, COLUMNS
    dataset.PixelData = pixels(number).tobytes()
    return with_meta(dataset)


def with_meta(dataset: Dataset) -> Dataset:
    """Give a data set the file meta information of its class, explicit little endian."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def stack(count: int = 5) -> list[Dataset]:
    """A sound CT series."""
    return [instance(number) for number in range(count)]


def put_raw(dataset: Dataset, keyword: str, vr: str, value: bytes) -> None:
    """Set an element to bytes that pydicom would not let one write."""
    tag = Tag(keyword)
    padded = value + b" " * (len(value) % 2)
    dataset[tag] = RawDataElement(tag, vr, len(padded), padded, 0, False, True)  # noqa: FBT003


def write(folder: Path, datasets: Iterable[Dataset]) -> Path:
    """Write files whose names run against the order of the slices."""
    folder.mkdir(parents=True, exist_ok=True)
    every = list(datasets)
    for number, dataset in enumerate(every):
        dcmwrite(folder / f"{len(every) - number:04d}.dcm", dataset, enforce_file_format=True)
    return folder


@dataclass(frozen=True)
class Scanned:
    """A whole report in memory."""

    files: tuple[ScannedFile, ...]
    studies: tuple[IndexedStudy, ...]
    refusal: tuple[Reason, str] | None


def scanned(source: Path | str, *, index: Path | None = None) -> Scanned:
    """Scan with two readers."""
    with scan(source, on_progress=lambda _done: None, processes=2, index=index) as report:
        return whole(report)


def whole(report: ScanReport) -> Scanned:
    """Return all that a report has to say."""
    return Scanned(tuple(report.files()), tuple(report.studies()), report.refusal)


def only_series(folder: Path) -> IndexedSeries:
    """Scan a folder that holds one part of one series."""
    (study,) = scanned(folder).studies
    (series,) = study.series
    return series


def files_of(folder: Path, series: IndexedSeries) -> SeriesFiles:
    """Return what ``read`` wants of an indexed series."""
    return SeriesFiles.of(str(folder), series)


def read_volume(folder: Path) -> Volume:
    """Scan, then read the one series as a volume."""
    volume = read(files_of(folder, only_series(folder)))
    assert isinstance(volume, Volume)
    return volume


def read_image(folder: Path) -> Image:
    """Scan, then read the one instance as an image."""
    image = read(files_of(folder, only_series(folder)), as_image=True)
    assert isinstance(image, Image)
    return image


def everything(folder: Path) -> tuple[list[ScannedFile], list[IndexedStudy]]:
    """Scan, and hold all that the report says in memory."""
    report = scanned(folder)
    return list(report.files), list(report.studies)
