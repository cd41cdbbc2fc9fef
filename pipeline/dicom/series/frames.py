"""Frames: what volumes are assembled from, be they single slices or parts of one object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom import sop_classes
from pipeline.dicom.headers.instance import FramePlace, InstanceHeader

SMALLEST_SPACING: Final = 1e-3
LARGEST_SPACING: Final = 1e3


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One frame of one instance and its place: what classic slices and parts of one object share.

    An instance that states no place per frame is one frame, however many images it holds.
    Numbers that are present but invalid are NaN.
    """

    header: InstanceHeader = field(repr=False)
    #: from 0
    number: int
    #: (row cosine, column cosine), PS3.3 C.7.6.2.1.1
    orientation: tuple[float, ...] | None
    #: centre of the first voxel, LPS mm
    position: tuple[float, ...] | None
    #: (between rows, between columns) in mm
    pixel_spacing: tuple[float, ...] | None
    slope: float | None
    intercept: float | None
    rescale_type: str
    slice_thickness: float | None
    image_type: tuple[str, ...]
    #: keyword -> value, numbers without the jitter of their last digits
    phases: dict[str, str]

    @property
    def is_slice(self) -> bool:
        """Say whether the frame is meant as one slice of a volume."""
        if self.header.is_colour:
            return False
        if is_placed(self.header):
            return True
        is_named = self.header.sop_class_uid in sop_classes.SLICE_CLASSES
        return self.header.frames == 1 and (is_named or self.header.has_geometry)

    @property
    def normal(self) -> NDArray[np.float64]:
        """Row cosine x column cosine, of a frame with an orientation."""
        return normal_of(self.orientation or ())

    @property
    def spacing(self) -> tuple[float, float] | None:
        """The valid (between rows, between columns) in mm, or None."""
        return _valid(self.pixel_spacing) or _valid(self.header.imager_pixel_spacing)

    @property
    def is_spacing_of_detector(self) -> bool:
        """Say whether the spacing is that of the detector plane (PS3.3 10.7.1.3)."""
        return self.spacing is not None and _valid(self.pixel_spacing) is None


def is_placed(header: InstanceHeader) -> bool:
    """Say whether functional groups give the frames of an instance places in the patient."""
    places = header.places or ()
    return any(p.position is not None or p.orientation is not None for p in places)


def frames_of(header: InstanceHeader) -> tuple[Frame, ...]:
    """Return the frames of an instance in their order; one where they have no place each."""
    if header.places is not None and is_placed(header) and not header.is_colour:
        return tuple(_placed(header, number, p) for number, p in enumerate(header.places))
    slope, intercept, rescale_type = _common_rescale(header)
    return (
        Frame(
            header=header,
            number=0,
            orientation=header.orientation,
            position=header.position,
            pixel_spacing=header.pixel_spacing,
            slope=slope,
            intercept=intercept,
            rescale_type=rescale_type,
            slice_thickness=header.slice_thickness,
            image_type=header.image_type,
            phases={keyword: _steady(text) for keyword, text in header.phases},
        ),
    )


def normal_of(orientation: Sequence[float]) -> NDArray[np.float64]:
    """Return the slice normal of six direction cosines: row cosine x column cosine."""
    cosines = np.asarray(orientation, np.float64)
    return np.cross(cosines[:3], cosines[3:])


def _valid(spacing: tuple[float, ...] | None) -> tuple[float, float] | None:
    if spacing is None or not all(SMALLEST_SPACING <= s <= LARGEST_SPACING for s in spacing):
        return None
    return spacing[0], spacing[1]


def _placed(header: InstanceHeader, number: int, place: FramePlace) -> Frame:
    return Frame(
        header=header,
        number=number,
        orientation=place.orientation,
        position=place.position,
        pixel_spacing=place.pixel_spacing,
        slope=place.slope,
        intercept=place.intercept,
        rescale_type=place.rescale_type,
        slice_thickness=place.slice_thickness,
        image_type=place.image_type or header.image_type,
        phases={keyword: _steady(text) for keyword, text in place.phases},
    )


def _common_rescale(header: InstanceHeader) -> tuple[float | None, float | None, str]:
    """Return the rescale of an instance as a whole; NaN where its frames differ."""
    if not header.places:
        return header.slope, header.intercept, header.rescale_type
    first = header.places[0]
    told = (first.slope, first.intercept, first.rescale_type)
    # repr, because NaN is not equal to itself
    if any(repr((p.slope, p.intercept, p.rescale_type)) != repr(told) for p in header.places):
        return math.nan, math.nan, ""
    return told


def _steady(text: str) -> str:
    """Return numbers with seven digits, as float32 keeps them; other texts as they are."""
    return "\\".join(_seven_digits(value) for value in text.split("\\"))


def _seven_digits(value: str) -> str:
    try:
        return f"{float(value):.7g}"
    except ValueError:
        return value
