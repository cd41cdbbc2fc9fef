"""Voxels with their place in the patient. A value that exists is valid."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import StudyRejected
from pipeline.reasons import Reason


@dataclass(frozen=True, kw_only=True)
class SourceInstance:
    """One instance a volume or image was read from, in the order of its slices."""

    sop_class_uid: str
    sop_instance_uid: str
    instance_number: int | None = None
    #: ImagePositionPatient in mm, None where the image has no place in the patient
    position: tuple[float, float, float] | None = None
    frames: int = 1
    #: the frame behind this slice, from 1 (PS3.3 10.3); None where the instance has only one,
    #: or where all its frames together are one image
    frame: int | None = None


@dataclass(frozen=True, kw_only=True)
class SourceHeader:
    """What writers need of the source: one template header and the instances behind the slices.

    Of a volume there is one entry in ``instances`` per slice of the source, in slice order, also
    where they are frames of one instance; of an image there is one.
    """

    #: one header without pixels, encoded as a DICOM file (explicit little endian), from slice 0
    template: bytes = field(repr=False)
    instances: tuple[SourceInstance, ...]
    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str | None
    modality: str
    #: (row cosine, column cosine) and (between rows, between columns) in mm, as stated
    orientation: tuple[float, ...] | None = None
    pixel_spacing: tuple[float, ...] | None = None
    #: of a projection that states no other: what lies in the patient is smaller than it says
    is_spacing_of_detector: bool = False
    #: of the other series that a result on these slices rests on
    beside: tuple[SourceHeader, ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True)
class Regridding:
    """The way back from a resampled grid to the slices of the source.

    Slice ``i`` of the source (in the order of ``SourceHeader.instances``) lies at slice
    ``slices[i]`` of the volume; its pixel (row, column) at
    (row + ``shifts[i][0]``, column + ``shifts[i][1]``). ``shape`` is (slices, rows, columns) of
    the source.
    """

    shape: tuple[int, int, int]
    slices: tuple[int, ...]
    #: in pixels; whole ones where only gaps were filled
    shifts: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        """Refuse a way back that leads nowhere.

        Raises:
            StudyRejected: the slices do not follow each other, a shift is negative or no number.

        """
        is_whole = len(self.slices) == len(self.shifts) == self.shape[0]
        is_ordered = all(a < b for a, b in itertools.pairwise((-1, *self.slices)))
        moves = [pixels for shift in self.shifts for pixels in shift]
        if not (is_whole and is_ordered and all(0 <= m < math.inf for m in moves)):
            sentence = "the slices have no way back from the grid they were laid on"
            raise StudyRejected(sentence, Reason.SERIES_GEOMETRY_INVALID)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Say whether the slices lie within a volume of this shape."""
        _, rows, columns = self.shape
        down, right = (math.ceil(max(shift[axis] for shift in self.shifts)) for axis in (0, 1))
        return (
            self.slices[-1] < shape[0] and rows + down <= shape[1] and columns + right <= shape[2]
        )

    def restore(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return what lies on the volume's grid, on the grid of the source.

        Whole numbers are labels: each pixel takes the nearest. Floats are interpolated linearly
        between the voxels that the pixel lies among.
        """
        rows, columns = self.shape[1:]
        is_label = array.dtype.kind != "f"
        restored = np.zeros(self.shape, array.dtype)
        for index, (place, shift) in enumerate(zip(self.slices, self.shifts, strict=True)):
            plane = array[place]
            if is_label:
                top, left = (math.floor(pixels + 0.5) for pixels in shift)
                restored[index] = plane[top : top + rows, left : left + columns]
            else:
                down = _between(plane, shift[0], rows, axis=0)
                restored[index] = _between(down, shift[1], columns, axis=1)
        return restored


def _between(plane: NDArray[Any], shift: float, count: int, *, axis: int) -> NDArray[Any]:
    """Return ``count`` values along an axis from a fractional place on, linearly interpolated."""
    first, share = int(shift), shift - int(shift)
    lower = plane.take(range(first, first + count), axis)
    if share == 0:
        return lower
    upper = plane.take(range(first + 1, first + 1 + count), axis)
    return np.asarray(lower + (upper - lower) * plane.dtype.type(share))


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A 3-D image on a regular grid in patient space.

    ``stored`` has shape (slices, rows, columns), any integer or float dtype, contiguous. A value in
    the modality's unit is ``stored * slope + intercept``. ``affine`` (4, 4) float64 maps the index
    (slice, row, column, 1) to patient coordinates (LPS, mm). Slices run along +normal, where
    normal = row cosine x column cosine (PS3.3 C.7.6.2.1.1), so the affine is right-handed or
    not as the scanner chose, but always orthogonal.
    """

    stored: NDArray[Any] = field(repr=False)
    affine: NDArray[np.float64]
    slope: float = 1.0
    intercept: float = 0.0
    #: UCUM-like unit of the values: "HU" for CT, "" where the modality has none
    unit: str = ""
    header: SourceHeader | None = field(default=None, repr=False)
    warnings: tuple[str, ...] = ()
    #: None where every slice is a slice of the source
    regridding: Regridding | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse a half-valid volume.

        Raises:
            StudyRejected: wrong number of axes or kind of numbers, an affine that is not finite,
                singular or not orthogonal, a rescale that is not finite or has slope 0, slices
                that are not those of the header.

        """
        if self.stored.ndim != 3 or min(self.stored.shape) < 1:
            sentence = f"a volume needs three non-empty axes, not shape {self.stored.shape}"
            raise StudyRejected(sentence, Reason.SERIES_GEOMETRY_INVALID)
        if self.stored.dtype.kind not in "iuf" or not self.stored.dtype.isnative:
            sentence = f"voxels cannot be kept as {self.stored.dtype}"
            raise StudyRejected(sentence, Reason.PIXELS_UNSUPPORTED)
        # flipped and cut views are the same voxels, but what runs on them may not take them
        object.__setattr__(self, "stored", np.ascontiguousarray(self.stored))
        self._check_slices()
        self._check_affine()
        if not (np.isfinite(self.slope) and np.isfinite(self.intercept)) or self.slope == 0:
            sentence = "RescaleSlope and RescaleIntercept must be finite and the slope not zero"
            raise StudyRejected(sentence, Reason.PIXELS_RESCALE_NOT_FINITE)

    def _check_slices(self) -> None:
        way, count = self.regridding, self.stored.shape[0]
        if way is not None and not way.fits(self.stored.shape):
            sentence = "the slices do not lie within the grid they were laid on"
            raise StudyRejected(sentence, Reason.SERIES_GEOMETRY_INVALID)
        sources = count if way is None else way.shape[0]
        if self.header is not None and len(self.header.instances) != sources:
            sentence = f"{len(self.header.instances)} source slices for a volume of {sources}"
            raise StudyRejected(sentence, Reason.SERIES_GEOMETRY_INVALID)

    def _check_affine(self) -> None:
        if self.affine.shape != (4, 4) or not np.isfinite(self.affine).all():
            sentence = "the affine of the volume is not a finite 4 x 4 matrix"
            raise StudyRejected(sentence, Reason.SERIES_GEOMETRY_INVALID)
        steps = self.affine[:3, :3]
        lengths = np.linalg.norm(steps, axis=0)
        if lengths.min() <= 0:
            sentence = "a voxel of the volume has no extent along one axis"
            raise StudyRejected(sentence, Reason.SERIES_GEOMETRY_INVALID)
        cosines = steps / lengths
        if np.abs(cosines.T @ cosines - np.eye(3)).max() > 1e-3:
            sentence = "the axes of the volume are not at right angles"
            raise StudyRejected(sentence, Reason.SERIES_GANTRY_TILT)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between (slices, rows, columns) in mm."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(lengths[0]), float(lengths[1]), float(lengths[2])

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3])) / 1000.0)

    def on_source(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an array on this grid on the grid of the source: (slices, rows, columns)."""
        return array if self.regridding is None else self.regridding.restore(array)

    def values(self) -> NDArray[np.float32]:
        """Return the voxels in the modality's unit, float32, shape (slices, rows, columns)."""
        values = self.stored.astype(np.float32)
        if self.slope != 1.0:
            values *= np.float32(self.slope)
        if self.intercept != 0.0:
            values += np.float32(self.intercept)
        return values

    def to_patient(self, index: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map indices (..., 3) = (slice, row, column) to patient coordinates (..., 3), LPS mm."""
        return np.asarray(index, np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]


@dataclass(frozen=True, kw_only=True)
class Image:
    """A single image or a cine loop without a place in the patient, or one lone slice.

    ``pixels`` has shape (frames, rows, columns) for grey or (frames, rows, columns, 3) for RGB
    uint8. Grey values are in the modality's unit (``stored * slope + intercept`` applied),
    float32, MONOCHROME1 already inverted so that larger is brighter.
    """

    pixels: NDArray[Any] = field(repr=False)
    unit: str = ""
    #: (between rows, between columns) in mm where the image states it
    spacing: tuple[float, float] | None = None
    header: SourceHeader | None = field(default=None, repr=False)
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a half-valid image.

        Raises:
            StudyRejected: the shape is neither (F, R, C) nor (F, R, C, 3).

        """
        shape = self.pixels.shape
        is_grey, is_rgb = len(shape) == 3, len(shape) == 4 and shape[3] == 3
        if not (is_grey or is_rgb) or min(shape) < 1:
            sentence = f"an image needs frames, rows and columns, not shape {shape}"
            raise StudyRejected(sentence, Reason.PIXELS_UNSUPPORTED)


Input: TypeAlias = Volume | Image


@dataclass(frozen=True, kw_only=True)
class Channels:
    """Several volumes of one study on one grid, as the channels of one input, in their order.

    A study may lack some of them: answers lie on the grid of the first that is there.
    """

    #: those that are there
    volumes: tuple[Volume, ...]
    #: of every channel, whether it is there; where nothing is given, all are
    present: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what does not lie on one grid: voxel by voxel it must be the same place.

        Raises:
            StudyRejected: no volume at all, another shape, or a place further off than a tenth of
                the smallest voxel.
            ValueError: ``present`` tells of more or fewer volumes than there are.

        """
        if not self.volumes:
            raise StudyRejected("there is no volume", Reason.SERIES_GEOMETRY_INVALID)
        if not self.present:
            object.__setattr__(self, "present", (True,) * len(self.volumes))
        if sum(self.present) != len(self.volumes):
            raise ValueError(f"{len(self.volumes)} volumes for {sum(self.present)} channels")
        for number, volume in enumerate(self.volumes[1:], start=2):
            if differs := grid_difference(self.volumes[0], volume):
                sentence = f"series {number} {differs}"
                raise StudyRejected(sentence, Reason.SERIES_GEOMETRY_INVALID)


def grid_difference(first: Volume, other: Volume) -> str | None:
    """Say by what the grid of another volume differs from that of the first; None: by nothing.

    A tenth of the smallest voxel is nothing: so far do positions in decimals lie apart.
    """
    shapes = [" x ".join(map(str, one.stored.shape)) for one in (other, first)]
    if shapes[0] != shapes[1]:
        return f"has {shapes[0]} voxels, the first has {shapes[1]}"
    ends = ((0, count - 1) for count in first.stored.shape)
    corners = np.array(list(itertools.product(*ends)))
    apart = np.linalg.norm(other.to_patient(corners) - first.to_patient(corners), axis=1).max()
    if apart <= 0.1 * min(first.spacing):
        return None
    return f"lies up to {apart:.3g} mm away from the first"
