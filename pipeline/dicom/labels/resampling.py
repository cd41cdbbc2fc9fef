"""A segmentation on a grid of its own, taken onto another by the nearest voxel."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.dicom.labels.frames import Frame, Plane
from pipeline.dicom.labels.grid import TOLERANCE, Grid
from pipeline.dicom.labels.patches import Patches, Room
from pipeline.dicom.labels.refusal import mismatch

Vector: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

_IRREGULAR: Final = "its frames do not lie on one regular grid"
_SAME: Final = 1e-3


class Nearest:
    """Frames that make a regular grid among themselves.

    Raises:
        StudyRejected: label.mismatch where they do not.

    """

    is_resampled = True

    def __init__(self, frames: Sequence[Frame], grid: Grid, room: Room) -> None:
        self._grid = grid
        self._room = room
        #: segment number -> (where it is wanted, what was gathered on the grid of the frames)
        self._gathered: dict[int | None, tuple[Patches, Patches]] = {}
        first = _plane(frames[0])
        normal = np.cross(first.column_step, first.row_step)
        normal /= np.linalg.norm(normal)
        offsets = np.array([_offset(_plane(frame), first) for frame in frames])
        depths = offsets @ normal
        step = _step(depths, frames[0])
        lowest = int(depths.argmin())
        self._origin = _plane(frames[lowest]).origin
        self._steps = np.stack([normal * step, first.row_step, first.column_step], axis=1)
        indices = np.linalg.solve(self._steps, (offsets - offsets[lowest]).T).T
        if np.abs(indices - np.rint(indices)).max() > TOLERANCE or np.rint(indices[:, 1:]).any():
            raise mismatch(_IRREGULAR)
        self._depths = {
            frame.number: int(depth)
            for frame, depth in zip(frames, np.rint(indices[:, 0]), strict=True)
        }

    def key(self, frame: Frame) -> Hashable:
        """Return the slice of the frame on its own grid."""
        return self._depths[frame.number]

    def put(self, patches: Patches, frame: Frame, inside: Mask) -> None:
        """Gather a frame on its own grid."""
        pair = patches, Patches(name=patches.name)
        _, own = self._gathered.setdefault(patches.number, pair)
        own.add((self._depths[frame.number], 0, 0), inside[None])

    def finish(self) -> None:
        """Sample every region at the voxels of the target grid."""
        for target, own in self._gathered.values():
            start, voxels = own.union(self._room)
            if voxels.size:
                self._sample(target, np.array(start, np.float64), voxels)

    def _sample(self, target: Patches, start: Vector, voxels: Mask) -> None:
        """Ask, slice by slice, which voxel of the region lies nearest to each of the target."""
        labelled = self._grid.index((np.argwhere(voxels) + start) @ self._steps.T + self._origin)
        if (labelled < -0.5).any() or (labelled > np.array(self._grid.shape) - 0.5).any():
            raise mismatch("it labels voxels outside of the image")
        reach = np.abs(np.linalg.solve(self._grid.affine[:3, :3], self._steps)).sum(axis=1)
        low = np.clip(np.floor(labelled.min(axis=0) - reach), 0, self._grid.shape).astype(int)
        high = np.clip(np.ceil(labelled.max(axis=0) + reach) + 1, 0, self._grid.shape).astype(int)
        back = np.linalg.solve(self._steps, self._grid.affine[:3, :3])
        fixed = np.linalg.solve(self._steps, self._grid.affine[:3, 3] - self._origin) - start
        rows, columns = np.arange(low[1], high[1]), np.arange(low[2], high[2])
        plane = rows[:, None, None] * back[:, 1] + columns[None, :, None] * back[:, 2] + fixed
        for depth in range(low[0], high[0]):
            nearest = np.rint(plane + depth * back[:, 0]).astype(np.int64)
            is_in = ((nearest >= 0) & (nearest < voxels.shape)).all(axis=-1)
            nearest[~is_in] = 0
            found = voxels[nearest[..., 0], nearest[..., 1], nearest[..., 2]] & is_in
            target.add((depth, int(low[1]), int(low[2])), found[None])


def _plane(frame: Frame) -> Plane:
    if frame.plane is None:
        raise mismatch("a frame states no place, and the segmentation lies on another grid")
    return frame.plane


def _offset(plane: Plane, first: Plane) -> Vector:
    steps = (plane.row_step, first.row_step), (plane.column_step, first.column_step)
    if any(np.abs(one - other).max() > _SAME * np.linalg.norm(other) for one, other in steps):
        raise mismatch(_IRREGULAR)
    return plane.origin - first.origin


def _step(depths: Vector, frame: Frame) -> float:
    """Return the distance between slices: what two frames show, else what they state."""
    differences = np.diff(np.unique(np.round(depths, 3)))
    stated = frame.spacing_between or frame.thickness
    usual = float(differences.min()) if differences.size else stated
    if usual is None:
        raise mismatch("a single frame on another grid does not say how thick it is")
    return usual
