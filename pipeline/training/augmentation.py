"""Random changes of training cases: where their voxels lie, and what values they have.

Everything is drawn from the generator of a case's place in its epoch (``data.draws``), so that
neither the order of calls nor a restart changes it. What lies beyond an image is 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from numpy.typing import NDArray
from torch import Tensor

from pipeline.training.fields import AugmentationField

if TYPE_CHECKING:
    from monai.transforms.compose import Compose

#: control points of an elastic change, along each axis
_CONTROL_POINTS: Final = 4


@dataclass(frozen=True, kw_only=True)
class Warp:
    """Where each voxel of a changed patch comes from, the same for an image and its labels.

    Places are counted in voxels from the middle of the patch: ``source = matrix @ place + offset``,
    and what an elastic change adds to that.
    """

    #: axes of the patch
    size: tuple[int, ...]
    #: (dims, dims)
    matrix: NDArray[np.float64]
    #: (dims,), voxels
    offset: NDArray[np.float64]
    #: (dims, *control points), voxels; None = all places move together
    bend: NDArray[np.float64] | None = None

    @property
    def reach(self) -> list[int]:
        """How many voxels beyond the patch it looks, at both ends of each axis."""
        half = np.asarray(self.size) / 2.0
        furthest = np.abs(self.matrix) @ half + np.abs(self.offset)
        if self.bend is not None:
            furthest += np.abs(self.bend).reshape(len(self.size), -1).max(axis=1)
        return [max(int(beyond), 0) for beyond in np.ceil(furthest - half)]

    def image(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Resample values (..., *around), linearly between voxels; leading axes are channels.

        ``around`` is the patch, or what lies around it as well, by as much on both sides.
        """
        return self._sampled(values, "bilinear")

    def mask(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Resample whole numbers below 2**24 (..., *around): the nearest voxel counts."""
        return self._sampled(labels, "nearest").astype(labels.dtype)

    def boxes(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return where boxes (N, 2 * dims), lower corner and upper, come to lie.

        Voxel i covers [i, i + 1). What a box holds is taken for the ellipsoid that fills it, so a
        turned box is not larger than what is in it. An elastic change has no such answer.

        Raises:
            ValueError: the change is elastic.

        """
        if self.bend is not None:
            raise ValueError("an elastic change turns boxes into what are no boxes")
        dims = len(self.size)
        middle = np.asarray(self.size) / 2.0
        centres = (boxes[:, :dims] + boxes[:, dims:]) / 2.0 - middle - self.offset
        halves = (boxes[:, dims:] - boxes[:, :dims]) / 2.0
        back = np.linalg.inv(self.matrix)
        centres = centres @ back.T + middle
        halves = np.sqrt(halves**2 @ (back**2).T)
        return np.concatenate([centres - halves, centres + halves], axis=1).astype(np.float32)

    def _sampled(self, values: NDArray[Any], mode: str) -> NDArray[np.float32]:
        plain = torch.from_numpy(np.array(values, np.float32, order="C"))
        channels, around = plain.shape[: -len(self.size)], plain.shape[-len(self.size) :]
        share = [width / whole for width, whole in zip(self.size, around, strict=True)]
        found = F.grid_sample(
            plain.reshape(1, -1, *around),
            self._grid() * torch.tensor(share[::-1]),
            mode=mode,
            align_corners=False,
        )
        return found.reshape(*channels, *self.size).numpy()

    def _grid(self) -> Tensor:
        """Return the places to sample (1, *size, dims), as ``grid_sample`` counts them."""
        half = np.asarray(self.size) / 2.0
        theta = np.column_stack([self.matrix * half / half[:, None], self.offset / half])
        # torch counts the last axis first
        turned = np.column_stack([theta[::-1, -2::-1], theta[::-1, -1]])
        grid = F.affine_grid(
            torch.from_numpy(turned.astype(np.float32))[None],
            [1, 1, *self.size],
            align_corners=False,
        )
        if self.bend is None:
            return grid
        shares = torch.from_numpy((self.bend.T / half).T[::-1].astype(np.float32))[None]
        mode = "bilinear" if len(self.size) == 2 else "trilinear"
        moved = F.interpolate(shares, self.size, mode=mode, align_corners=True)
        return grid + moved.movedim(1, -1)


def warp(
    size: Sequence[int], wanted: AugmentationField, random: np.random.Generator
) -> Warp | None:
    """Draw how the voxels of a patch move; None where the recipe asks for nothing of the kind.

    Rotations are about every axis of a volume; axes count as equally fine.

    Args:
        size: axes of the patch, two or three.
        wanted: what the recipe asks for.
        random: what decides.

    """
    if not wanted.moves_voxels:
        return None
    extent, dims = np.asarray(size, float), len(size)
    angles = np.radians(random.uniform(-wanted.rotate, wanted.rotate, 1 if dims == 2 else 3))
    kept = random.uniform(1.0 - wanted.crop, 1.0)
    zoom = (1.0 + wanted.zoom) ** random.uniform(-1.0, 1.0)
    offset = extent * random.uniform(-wanted.translate, wanted.translate, dims)
    offset += extent * (1.0 - kept) * random.uniform(-0.5, 0.5, dims)
    bend = None
    if wanted.elastic:
        bend = random.normal(0.0, wanted.elastic, (dims, *[_CONTROL_POINTS] * dims))
    matrix = _rotation(angles) * (kept / zoom)
    return Warp(size=tuple(size), matrix=matrix, offset=offset, bend=bend)


def _rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotation by one angle in a plane, or by three, one about each axis."""
    if len(angles) == 1:
        return _turn(float(angles[0]))
    whole = np.eye(3)
    for axis, angle in enumerate(angles):
        about = np.eye(3)
        plane = [other for other in range(3) if other != axis]
        about[np.ix_(plane, plane)] = _turn(float(angle))
        whole = whole @ about
    return whole


def _turn(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


@dataclass(frozen=True)
class Pose:
    """How a patch is mirrored and turned by a quarter: no value between voxels is made up."""

    #: that it is mirrored along, counted from the last
    axes: tuple[int, ...]
    #: whether its last two axes change places after that
    is_turned: bool

    def of(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return a patch (..., *spatial), its last axes those of space, in this pose."""
        mirrored = np.flip(values, self.axes)
        return mirrored.swapaxes(-1, -2) if self.is_turned else mirrored

    def boxes(self, boxes: NDArray[np.float32], size: Sequence[int]) -> NDArray[np.float32]:
        """Return boxes (N, 2 * dims) of a patch of this size, lower corner and upper, likewise."""
        dims = len(size)
        low, high = boxes[:, :dims].copy(), boxes[:, dims:].copy()
        for axis in self.axes:
            low[:, axis], high[:, axis] = size[axis] - high[:, axis], size[axis] - low[:, axis]
        if self.is_turned:
            order = [*range(dims - 2), dims - 1, dims - 2]
            low, high = low[:, order], high[:, order]
        return np.concatenate([low, high], axis=1)


def pose(dims: int, wanted: AugmentationField, random: np.random.Generator) -> Pose:
    """Choose how a patch with so many axes of space is mirrored and turned."""
    axes = tuple(axis - dims for axis in range(dims) if random.random() < wanted.flip)
    return Pose(axes, is_turned=wanted.quarter > 0 and random.random() < wanted.quarter)


def vary(
    image: NDArray[np.float32], wanted: AugmentationField, random: np.random.Generator
) -> Tensor:
    """Change the values of a patch (channels, *spatial) by MONAI's transforms."""
    tensor = torch.from_numpy(np.array(image, np.float32, order="C"))
    changes = _value_changes(wanted)
    if not changes.transforms:
        return tensor
    with _plain_tensors():
        changed = _seeded(changes, int(random.integers(2**32)))(tensor)
    return torch.as_tensor(changed, dtype=torch.float32).contiguous()


@cache
def _value_changes(wanted: AugmentationField) -> Compose:
    """Return the transforms of a recipe, made once: to seed them is cheaper than to make them."""
    from monai.transforms.compose import Compose
    from monai.transforms.intensity.array import (
        RandAdjustContrast,
        RandGaussianNoise,
        RandGaussianSmooth,
        RandScaleIntensity,
        RandShiftIntensity,
    )

    changes: list[Any] = []
    if wanted.blur:
        most = (0.0, wanted.blur)
        changes.append(RandGaussianSmooth(most, most, most, prob=0.5))
    if wanted.contrast:
        most_gamma = 1.0 + wanted.contrast
        changes.append(RandAdjustContrast(prob=0.5, gamma=(1.0 / most_gamma, most_gamma)))
    if wanted.scale:
        changes.append(RandScaleIntensity(factors=wanted.scale, prob=0.5))
    if wanted.shift:
        changes.append(RandShiftIntensity(offsets=wanted.shift, prob=0.5))
    if wanted.noise:
        changes.append(RandGaussianNoise(prob=0.5, std=wanted.noise))
    return Compose(changes).set_random_state(seed=0)  # each gets a generator of its own


def _seeded(changes: Compose, seed: int) -> Compose:
    """Seed as ``set_random_state`` does, but what there is: it makes generators anew.

    One is seeded in 3 us and made in 200, more than the changes of a small image take.
    """
    from monai.transforms.transform import Randomizable
    from monai.utils.misc import MAX_SEED

    changes.R.seed(seed % MAX_SEED)
    for change in changes.transforms:
        if isinstance(change, Randomizable):
            change.R.seed(int(changes.R.randint(MAX_SEED, dtype="uint32")) % MAX_SEED)
    return changes


@contextmanager
def _plain_tensors() -> Iterator[None]:
    """Let MONAI keep no account of where values come from: it costs as much as the changes."""
    from monai.data.meta_obj import get_track_meta, set_track_meta

    before = get_track_meta()
    set_track_meta(False)
    try:
        yield
    finally:
        set_track_meta(before)


def forget(
    beside: Mapping[str, Tensor], chance: float, random: np.random.Generator
) -> dict[str, Tensor]:
    """Take series and values of a table that are there for missing, each with this chance.

    Args:
        beside: of one case, which series are there (``present``) and which values are known
            (``known``), bool; everything else is left as it is. One series always stays.
        chance: from 0 to 1.
        random: what decides.

    """
    left = dict(beside)
    for name in ("present", "known"):
        if name not in left:
            continue
        there = left[name].numpy()
        kept = there & (random.random(there.shape) >= chance)
        if name == "present" and not kept.any():
            kept[random.choice(np.flatnonzero(there))] = True
        left[name] = torch.from_numpy(kept)
    return left
