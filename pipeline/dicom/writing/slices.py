"""Where the slices of a source lie and how a frame of a derived object refers to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as DicomCode

from pipeline.dicom.writing import elements
from pipeline.dicom.writing.source_images import decimal_string
from pipeline.volume import Image, Input, SourceHeader, SourceInstance, Volume

_Scalar = TypeVar("_Scalar", bound=np.generic)
_PURPOSE: Final = codes.DCM.SourceImageForImageProcessingOperation


@dataclass(frozen=True, kw_only=True)
class Place:
    """The planes of a source in its frame of reference, in mm as the source states them."""

    #: direction cosines of a row, then of a column (PS3.3 C.7.6.2.1.1)
    orientation: tuple[float, ...]
    #: (between rows, between columns)
    pixel_spacing: tuple[float, ...]
    #: ImagePositionPatient of every slice
    positions: tuple[tuple[float, float, float], ...]
    #: as stated, else the distance of slices in the volume; None for a lone slice without one
    slice_thickness: float
    #: distance of neighbours along the normal; None where it is not one number
    slice_spacing: float | None


@dataclass(frozen=True, kw_only=True)
class SourceSlices:
    """What lies behind each slice of an array on the grid of the source."""

    instances: tuple[SourceInstance, ...]
    #: (slices, rows, columns)
    shape: tuple[int, int, int]
    #: None for images without a place in the patient
    place: Place | None


def source_slices(source: Input, header: SourceHeader, template: Dataset) -> SourceSlices:
    """Return what is behind the slices of ``source``; ``template`` is its cleaned header.

    Raises:
        ValueError: not one instance per slice.

    """
    shape = _shape(source)
    instances = header.instances
    if isinstance(source, Image) and len(instances) == 1 and shape[0] > 1:  # a cine loop
        instances = tuple(replace(instances[0], frame=index + 1) for index in range(shape[0]))
    if len(instances) != shape[0]:
        raise ValueError(f"the source has {shape[0]} slices but {len(instances)} instances")
    return SourceSlices(
        instances=instances, shape=shape, place=_place(source, header, instances, template)
    )


def on_source(source: Input, array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    """Return an array on the grid of ``source`` on the slices it was read from, contiguous.

    Raises:
        ValueError: a shape other than the source's.

    """
    shape = source.stored.shape if isinstance(source, Volume) else source.pixels.shape[:3]
    if array.shape != shape:
        raise ValueError(f"the result has shape {array.shape}, its source {shape}")
    return np.ascontiguousarray(source.on_source(array) if isinstance(source, Volume) else array)


def _shape(source: Input) -> tuple[int, int, int]:
    if isinstance(source, Image):
        frames, rows, columns = source.pixels.shape[:3]
    elif source.regridding is not None:
        frames, rows, columns = source.regridding.shape
    else:
        frames, rows, columns = source.stored.shape
    return frames, rows, columns


def _place(
    source: Input,
    header: SourceHeader,
    instances: Sequence[SourceInstance],
    template: Dataset,
) -> Place | None:
    positions = tuple(one.position for one in instances if one.position is not None)
    orientation, pixel_spacing = header.orientation, header.pixel_spacing
    if isinstance(source, Volume):
        steps = source.affine[:3, :3] / np.asarray(source.spacing)
        orientation = orientation or (*steps[:, 2].tolist(), *steps[:, 1].tolist())
        pixel_spacing = pixel_spacing or source.spacing[1:]
    else:
        orientation = orientation or _numbers(template, "ImageOrientationPatient")
        pixel_spacing = pixel_spacing or _numbers(template, "PixelSpacing")
    if len(positions) < len(instances) or not orientation or not pixel_spacing:
        return None
    spacing = source.spacing[0] if isinstance(source, Volume) else None
    thickness = _thickness(template) or spacing
    if thickness is None:
        # A place must state a thickness (PS3.3 C.7.6.16.2.1); one that nobody measured is not
        # made up: the frame then refers to its image, which has the same pixels.
        return None
    is_even = isinstance(source, Volume) and source.regridding is None
    return Place(
        orientation=orientation,
        pixel_spacing=pixel_spacing,
        positions=positions,
        slice_thickness=thickness,
        slice_spacing=spacing if is_even else None,
    )


def _numbers(dataset: Dataset, keyword: str) -> tuple[float, ...] | None:
    values = dataset.get(keyword)
    return tuple(float(value) for value in values) if values else None


def _thickness(template: Dataset) -> float | None:
    """Return the stated thickness in mm, of an enhanced instance where all frames share it."""
    holder: Any = template
    if "SliceThickness" not in template:
        for keyword in ("SharedFunctionalGroupsSequence", "PixelMeasuresSequence"):
            items = holder.get(keyword)
            if not items:
                return None
            holder = items[0]
    value = holder.get("SliceThickness")
    return float(value) if value else None


def shared_groups(slices: SourceSlices) -> Dataset:
    """Return the one item of the Shared Functional Groups Sequence: orientation and measures.

    They are not allowed without a frame of reference (PS3.3 A.51.5): then it has no element.
    """
    shared = Dataset()
    if (place := slices.place) is None:
        return shared
    orientation, measures = Dataset(), Dataset()
    orientation.ImageOrientationPatient = _decimals(place.orientation)
    measures.PixelSpacing = _decimals(place.pixel_spacing)
    measures.SliceThickness = decimal_string(place.slice_thickness)
    if place.slice_spacing is not None:
        measures.SpacingBetweenSlices = decimal_string(place.slice_spacing)
    shared.PlaneOrientationSequence = [orientation]
    shared.PixelMeasuresSequence = [measures]
    return shared


def _decimals(values: Sequence[float]) -> list[str]:
    return [decimal_string(value) for value in values]


def derivation(instance: SourceInstance, how: DicomCode) -> bytes:
    """Return the Derivation Image Sequence of a frame made of one slice (PS3.3 C.7.6.16.2.6)."""
    reference = [
        elements.text(0x00081150, "UI", instance.sop_class_uid),
        elements.text(0x00081155, "UI", instance.sop_instance_uid),
    ]
    if instance.frame is not None:
        reference.append(elements.text(0x00081160, "IS", str(instance.frame)))
    image = elements.item(
        *reference,
        elements.text(0x0028135A, "CS", "YES"),  # Spatial Locations Preserved
        elements.code(0x0040A170, _PURPOSE),
    )
    return elements.sequence(
        0x00089124,
        elements.item(elements.sequence(0x00082112, image), elements.code(0x00089215, how)),
    )


def plane_position(position: tuple[float, float, float]) -> bytes:
    """Return the Plane Position Sequence of a frame (PS3.3 C.7.6.16.2.3)."""
    return elements.sequence(0x00209113, elements.item(elements.decimals(0x00200032, position)))
