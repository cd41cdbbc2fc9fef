"""Headers and enhanced objects made for one test each, their geometry known in closed form."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, EnhancedCTImageStorage, EnhancedMRImageStorage, EnhancedPETImageStorage

from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.headers.reading import read_header
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.series.frames import Frame, frames_of
from pipeline.dicom.sources.opening import open_source
from tests.pipeline.dicom import made_series

Item = TypeVar("Item")

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_FRAME_TYPES = {
    "CT": "CTImageFrameTypeSequence",
    "MR": "MRImageFrameTypeSequence",
    "PT": "PETFrameTypeSequence",
}
_CLASSES = {
    "CT": EnhancedCTImageStorage,
    "MR": EnhancedMRImageStorage,
    "PT": EnhancedPETImageStorage,
}


@functools.cache
def _plain() -> InstanceHeader:
    with tempfile.TemporaryDirectory() as folder:
        return header_of(Path(folder), made_series.instance(0))


def header_of(folder: Path, dataset: Dataset) -> InstanceHeader:
    """Write a data set and read its header."""
    path = folder / "one.dcm"
    dcmwrite(path, dataset, enforce_file_format=True)
    with open_source(str(folder)).open(path.name) as file:
        return read_header(file, name=path.name, limits=HeaderLimits())


def header(number: int, **facts: Any) -> InstanceHeader:
    """One axial CT slice of 6 x 8 pixels of 2 x 0.5 mm; slices lie 5 mm apart along z."""
    facts.setdefault("position", (10.0, 20.0, 30.0 + 5.0 * number))
    return dataclasses.replace(
        _plain(),
        sop_instance_uid=f"1.2.3.4.{number + 1}",
        instance_number=facts.pop("instance_number", number + 1),
        **facts,
    )


def headers(count: int = 5, **facts: Any) -> list[InstanceHeader]:
    """A sound series."""
    return [header(number, **facts) for number in range(count)]


def frames(every: Sequence[InstanceHeader]) -> list[Frame]:
    """Return the frames of many instances."""
    return [frame for one in every for frame in frames_of(one)]


@dataclass(frozen=True, kw_only=True)
class Place:
    """One frame of an enhanced object."""

    #: every pixel of the frame holds 1000 x value + 10 x row + column
    value: int
    position: tuple[float, float, float]
    orientation: tuple[float, ...] | None = None
    slope: str | None = None
    intercept: str | None = None
    frame_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "VOLUME", "NONE")
    #: macro -> its attributes
    macros: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def enhanced(
    places: Sequence[Place], *, modality: str = "CT", number: int = 0, **shared: Any
) -> Dataset:
    """Return an enhanced object of 6 x 8 pixels of 2 x 0.5 mm with a group per frame."""
    dataset = made_series.instance(number)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(dataset, keyword)
    for keyword in ("RescaleSlope", "RescaleIntercept", "SliceThickness"):
        delattr(dataset, keyword)
    dataset.SOPClassUID, dataset.Modality = _CLASSES[modality], modality
    dataset.SOPInstanceUID = UID(f"1.2.3.5.{number + 1}")
    dataset.NumberOfFrames = len(places)
    dataset.SharedFunctionalGroupsSequence = Items([_shared(**shared)])
    dataset.PerFrameFunctionalGroupsSequence = Items(_group(one, modality) for one in places)
    dataset.PixelData = b"".join(made_series.pixels(one.value).tobytes() for one in places)
    return made_series.with_meta(dataset)


def macro(group: Dataset, keyword: str, **attributes: Any) -> None:
    """Put a macro of one item into a group."""
    item = Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    setattr(group, keyword, Items([item]))


def _shared(*, orientation: Sequence[float] = AXIAL, slope: str | None = "1") -> Dataset:
    group = Dataset()
    macro(group, "PlaneOrientationSequence", ImageOrientationPatient=list(orientation))
    macro(group, "PixelMeasuresSequence", PixelSpacing=[2.0, 0.5], SliceThickness=7)
    if slope is not None:
        macro(
            group,
            "PixelValueTransformationSequence",
            RescaleSlope=slope,
            RescaleIntercept="-1024",
            RescaleType="HU",
        )
    return group


def _group(place: Place, modality: str) -> Dataset:
    group = Dataset()
    macro(group, "PlanePositionSequence", ImagePositionPatient=list(place.position))
    if place.orientation is not None:
        macro(group, "PlaneOrientationSequence", ImageOrientationPatient=list(place.orientation))
    if place.slope is not None:
        macro(
            group,
            "PixelValueTransformationSequence",
            RescaleSlope=place.slope,
            RescaleIntercept=place.intercept or "0",
            RescaleType="US",
        )
    macro(group, _FRAME_TYPES[modality], FrameType=list(place.frame_type))
    for keyword, attributes in place.macros.items():
        macro(group, keyword, **attributes)
    return group


def line(count: int, *, first: int = 0, **facts: Any) -> list[Place]:
    """Frames 5 mm apart along z, their values counted from ``first``."""
    return [
        Place(value=first + number, position=(10.0, 20.0, 30.0 + 5.0 * number), **facts)
        for number in range(count)
    ]


def shuffled(items: Sequence[Item], seed: int) -> list[Item]:
    """Return the same in another order."""
    return [items[int(i)] for i in np.random.default_rng(seed).permutation(len(items))]


def values(count: int, first: int = 0) -> np.ndarray:
    """Return the stored values of so many frames, in order."""
    return np.stack([made_series.pixels(first + number) for number in range(count)])


def write(folder: Path, *datasets: Dataset) -> Path:
    """Write the objects into a folder."""
    return made_series.write(folder, datasets)
