"""The grid that labels are brought onto, and the checks that they belong there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom.labels.label_read import Region
from pipeline.dicom.labels.refusal import mismatch
from pipeline.results import Point
from pipeline.volume import Image, Input, SourceHeader, Volume

Vector: TypeAlias = NDArray[np.float64]
#: (SOPInstanceUID, frame from 1, or None where all frames are meant)
Reference: TypeAlias = tuple[str, int | None]

#: Share of a voxel by which a label may miss the place where it is put: decimal strings are cut.
TOLERANCE: Final = 0.1
_ELSEWHERE: Final = "it was drawn on other images of the same frame of reference"
_RENAMED: Final = (
    "its frame of reference is not that of the image, though it names the image as its source"
)
_UNSTATED: Final = "the image states no frame of reference; the label is placed by its grid alone"


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The grid of a volume, and which image of the source lies where on it."""

    shape: tuple[int, int, int]
    #: (4, 4): index (slice, row, column, 1) to LPS mm
    affine: Vector
    frame_of_reference_uid: str | None = None
    #: image -> slice of the grid; empty where the volume does not come from DICOM
    slices: dict[Reference, int] = field(default_factory=dict)
    #: image -> (row, column) of its first pixel on the grid, where that is not (0, 0)
    shifts: dict[Reference, tuple[float, float]] = field(default_factory=dict)
    is_regridded: bool = False
    #: False for an image without a place in the patient: nothing is found there by position. A
    #: lone slice has one, and counts as 1 mm thick
    has_place: bool = True

    @classmethod
    def of(cls, source: Input) -> Self:
        """Return the grid of a volume or an image as it was read, regridded or not."""
        return cls._of_volume(source) if isinstance(source, Volume) else cls._of_image(source)

    @classmethod
    def _of_image(cls, image: Image) -> Self:
        frames, rows, columns = image.pixels.shape[:3]
        instance = image.header.instances[0] if image.header else None
        slices: dict[Reference, int] = {}
        if instance is not None:
            first = instance.frame or 1
            slices = {
                (instance.sop_instance_uid, first + number): number for number in range(frames)
            }
        affine = None if frames > 1 or image.header is None else _affine_of(image.header)
        return cls(
            shape=(frames, rows, columns),
            affine=np.eye(4) if affine is None else affine,
            frame_of_reference_uid=image.header.frame_of_reference_uid if image.header else None,
            slices=slices,
            has_place=affine is not None,
        )

    @classmethod
    def _of_volume(cls, volume: Volume) -> Self:
        header, regridding = volume.header, volume.regridding
        shape: tuple[int, int, int] = volume.stored.shape
        slices: dict[Reference, int] = {}
        shifts: dict[Reference, tuple[float, float]] = {}
        for number, instance in enumerate(header.instances if header else ()):
            reference = instance.sop_instance_uid, instance.frame or 1
            slices[reference] = regridding.slices[number] if regridding else number
            if regridding:
                shifts[reference] = regridding.shifts[number]
        return cls(
            shape=shape,
            affine=volume.affine,
            frame_of_reference_uid=header.frame_of_reference_uid if header else None,
            slices=slices,
            shifts=shifts,
            is_regridded=regridding is not None,
        )

    def index(self, points: Vector) -> Vector:
        """Map LPS mm (..., 3) to (slice, row, column) (..., 3); voxel centres are whole.

        Raises:
            StudyRejected: label.mismatch where the image has no place in the patient.

        """
        if not self.has_place:
            raise mismatch("it states a place in the patient, which the image does not have")
        shifted = np.asarray(points, np.float64) - self.affine[:3, 3]
        return shifted @ np.linalg.inv(self.affine[:3, :3]).T

    def patient(self, index: Sequence[float]) -> Point:
        """Map one (slice, row, column) to LPS mm."""
        x, y, z = (self.affine[:3, :3] @ np.asarray(index) + self.affine[:3, 3]).tolist()
        return x, y, z

    @property
    def spacing(self) -> Vector:
        """Distance between (slices, rows, columns) in mm."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    def snap(self, index: Vector) -> tuple[Vector, Vector]:
        """Return the voxel at an index, and by how much it is missed, (slice, row, column) each.

        A slice of the source that lies between the pixels of a regridded volume has its pixels
        at the nearest, as ``Regridding.restore`` takes them back from there.
        """
        depth = round(float(index[0]))
        shifts = {place: self.shifts.get(source) for source, place in self.slices.items()}
        shift = np.array([0.0, *(shifts.get(depth) or (0.0, 0.0))])
        whole = np.rint(index - shift)
        return whole + np.floor(shift + 0.5), np.abs(index - shift - whole)

    def slice_of(self, reference: Reference) -> int | None:
        """Return the slice that an image lies at; of an image of many frames, only by frame."""
        uid, frame = reference
        return self.slices.get((uid, frame or 1))

    def check_reference(
        self, frame_of_reference_uid: str | None, sources: Collection[str]
    ) -> list[str]:
        """Refuse a label that nothing ties to this volume; return warnings.

        Args:
            frame_of_reference_uid: as the label states it.
            sources: SOPInstanceUIDs of the images that it names as drawn on.

        Raises:
            StudyRejected: label.mismatch.

        """
        if not self.slices:
            return [_UNSTATED]
        own = {uid for uid, _ in self.slices}
        is_named = not own.isdisjoint(sources)
        if self.frame_of_reference_uid and self.frame_of_reference_uid == frame_of_reference_uid:
            return [_ELSEWHERE] if sources and not is_named else []
        if not is_named:
            raise mismatch("it lies in another frame of reference than the image")
        is_contradicted = self.frame_of_reference_uid and frame_of_reference_uid
        return [_RENAMED] if is_contradicted else []

    def check_slice(self, references: Iterable[Reference], found: int) -> None:
        """Refuse a label that lies at another slice than the images it names.

        Raises:
            StudyRejected: label.mismatch.

        """
        named = {place for r in references if (place := self.slice_of(r)) is not None}
        if named and found not in named:
            raise mismatch("a part of it lies elsewhere than the image that it names as its source")

    def filled(self, region: Region) -> Region:
        """Give slices that were interpolated the label of the nearest slice of the source."""
        if not self.is_regridded or not region.voxels.size or not self.slices:
            return region
        known = np.array(sorted(set(self.slices.values())))
        every = np.arange(self.shape[0])
        nearest = known[np.abs(every[:, None] - known[None]).argmin(axis=1)] - region.start[0]
        inside = np.flatnonzero((nearest >= 0) & (nearest < region.voxels.shape[0]))
        start = int(inside[0]), *region.start[1:]
        return Region(
            name=region.name,
            codes=region.codes,
            number=region.number,
            start=start,
            voxels=region.voxels[nearest[inside]],
        )


def _affine_of(header: SourceHeader) -> Vector | None:
    """Return the affine of a lone slice (PS3.3 C.7.6.2.1.1); None where it states no place."""
    position = header.instances[0].position
    if position is None or header.orientation is None or header.pixel_spacing is None:
        return None
    along_row, along_column = np.array(header.orientation[:3]), np.array(header.orientation[3:])
    affine = np.eye(4)
    affine[:3, 0] = np.cross(along_row, along_column)
    affine[:3, 1] = along_column * header.pixel_spacing[0]
    affine[:3, 2] = along_row * header.pixel_spacing[1]
    affine[:3, 3] = position
    return affine
