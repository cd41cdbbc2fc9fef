"""One source of each kind that results are written for, and strict reading of what was written."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import PositronEmissionTomographyImageStorage

from pipeline.phantoms import ImageKind, ImageParameters, chest, head, write_image
from pipeline.phantoms import image as image_phantom
from pipeline.volume import Image, Input, Volume
from tests.pipeline.dicom.segs import (
    SMALL,
    as_multiframe,
    header_of,
    on_disk,
    template_bytes,
)


def ct(folder: Path) -> Volume:
    return on_disk(chest(SMALL), folder / "ct")


def mr(folder: Path) -> Volume:
    return on_disk(head(SMALL), folder / "mr")


def enhanced(folder: Path) -> Volume:
    volume = ct(folder)
    return replace(volume, header=as_multiframe(volume, [2, 0, 4, 1, 3]))


def pet(folder: Path) -> Volume:
    """A PET series in SUV: the header of a CT with what PET images have beside."""
    volume = ct(folder)
    assert volume.header is not None
    template = edited(volume.header.template, _make_pet)
    uid = PositronEmissionTomographyImageStorage
    header = replace(
        volume.header,
        template=template,
        modality="PT",
        instances=tuple(replace(one, sop_class_uid=uid) for one in volume.header.instances),
    )
    stored = np.abs(volume.stored).astype(np.int16)
    return replace(volume, stored=stored, slope=0.013, intercept=0.0, unit="g/mL", header=header)


def _make_pet(dataset: Dataset) -> None:
    dataset.SOPClassUID = PositronEmissionTomographyImageStorage
    dataset.Modality, dataset.ImageType = "PT", ["ORIGINAL", "PRIMARY"]
    dataset.Units, dataset.CountsSource = "BQML", "EMISSION"
    dataset.SeriesType, dataset.DecayCorrection = ["STATIC", "IMAGE"], "START"
    dataset.CorrectedImage = ["DECY", "ATTN"]
    dataset.FrameReferenceTime, dataset.ActualFrameDuration = "90000", "180000"
    dataset.CollimatorType, dataset.DecayFactor = "NONE", "1.01"
    dataset.NumberOfSlices, dataset.ImageIndex = 5, 1
    dataset.PatientWeight = "70"
    for keyword in ("KVP", "WindowCenter", "WindowWidth", "RescaleType"):
        delattr(dataset, keyword)


def picture(kind: ImageKind, frames: int = 1) -> Callable[[Path], Image]:
    def made(folder: Path) -> Image:
        parameters = ImageParameters(kind=kind, shape=(48, 40), frames=frames)
        phantom = image_phantom(parameters)
        written = write_image(phantom, folder / f"{kind}-{frames}")
        return replace(phantom.image, header=header_of(written.paths))

    return made


VOLUMES: dict[str, Callable[[Path], Volume]] = {
    "ct": ct,
    "mr": mr,
    "pet": pet,
    "enhanced": enhanced,
}
IMAGES: dict[str, Callable[[Path], Image]] = {
    "one CT slice": picture(ImageKind.CT),
    "one MR slice": picture(ImageKind.MR),
    "radiograph": picture(ImageKind.CR),
    "ultrasound": picture(ImageKind.US),
    "ultrasound loop": picture(ImageKind.US, 3),
}
SOURCES: dict[str, Callable[[Path], Input]] = {**VOLUMES, **IMAGES}


def edited(template: bytes, change: Callable[[Dataset], None]) -> bytes:
    """Change the header of a source."""
    dataset = pydicom.dcmread(io.BytesIO(template))
    dataset.PixelData = b""
    change(dataset)
    return template_bytes(dataset)


def strictly(data: bytes) -> Dataset:
    """Read with every value checked against its VR; raises where one is wrong."""
    settings: Any = pydicom.config.settings
    before = settings.reading_validation_mode
    settings.reading_validation_mode = pydicom.config.RAISE
    try:
        dataset = pydicom.dcmread(io.BytesIO(data))
        for _ in dataset.iterall():
            pass
    finally:
        settings.reading_validation_mode = before
    return dataset
