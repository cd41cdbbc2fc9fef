"""Steps that move voxels: other sizes, spacings, parts and directions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeAlias

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, StringConstraints, model_validator
from pydantic.dataclasses import dataclass

from pipeline.errors import ModelMismatch
from pipeline.preprocess.raster import (
    LARGEST_GRID,
    STRICT,
    Checkpoint,
    Millimetres,
    Number,
    Raster,
    Step,
    exactly_one,
)
from pipeline.preprocess.sampling import sampled

_Count: TypeAlias = Annotated[int, Field(ge=1, le=8192)]
#: one for all axes, or (slices, rows, columns) of volumes and (rows, columns) of images
_Counts: TypeAlias = _Count | Annotated[tuple[_Count, ...], Field(min_length=2, max_length=3)]
_Lengths: TypeAlias = (
    Millimetres | Annotated[tuple[Millimetres, ...], Field(min_length=2, max_length=3)]
)
Interpolation: TypeAlias = Literal["nearest", "linear", "cubic"]
_ORDER: Final = {"nearest": 0, "linear": 1, "cubic": 3}
_LPS_TO_RAS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])


class _Geometry(Step):
    takes: ClassVar[Literal["any"]] = "any"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Resize(_Geometry):
    """Lay so many voxels over the same field of view. Masks take the nearest voxel."""

    size: _Counts
    interpolation: Interpolation = "linear"

    @property
    def sizes(self) -> tuple[Any, ...]:
        """See ``Step.sizes``."""
        return (self.size,)

    def apply(self, raster: Raster, checkpoint: Checkpoint) -> Raster:
        """See ``Step.apply``."""
        del checkpoint
        counts = [int(one) for one in _along(self.size, raster, raster.shape)]
        steps = [have / want for have, want in zip(raster.shape, counts, strict=True)]
        return _laid(raster, steps, counts, self.interpolation)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Resample(_Geometry):
    """Lay voxels of this spacing over the field of view, as many as cover it, its middle kept.

    Values are not smoothed before: much coarser voxels want a ``gaussian`` first.
    """

    spacing_mm: _Lengths
    interpolation: Interpolation = "linear"

    @property
    def sizes(self) -> tuple[Any, ...]:
        """See ``Step.sizes``."""
        return (self.spacing_mm,)

    def apply(self, raster: Raster, checkpoint: Checkpoint) -> Raster:
        """See ``Step.apply``."""
        del checkpoint
        have = raster.spacing
        # frames are left alone: infinity by infinity is no number
        steps = [
            1.0 if math.isinf(old) else float(new / old)
            for old, new in zip(have, _along(self.spacing_mm, raster, have), strict=True)
        ]
        counts = [
            max(1, math.ceil(count / step - 1e-6))
            for count, step in zip(raster.shape, steps, strict=True)
        ]
        return _laid(raster, steps, counts, self.interpolation)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CropBox(_Geometry):
    """Keep a box: about the middle, or around what is above a value."""

    size: _Counts | None = None
    size_mm: _Lengths | None = None
    above: Number | None = None
    #: added on every side of what is above
    margin_mm: float = Field(default=0.0, ge=0, le=1000)

    @model_validator(mode="after")
    def _check(self) -> Self:
        exactly_one(self, "size", "size_mm", "above")
        if self.margin_mm and self.above is None:
            raise ValueError("margin_mm goes with above")
        return self

    @property
    def sizes(self) -> tuple[Any, ...]:
        """See ``Step.sizes``."""
        return tuple(one for one in (self.size, self.size_mm) if one is not None)

    def apply(self, raster: Raster, checkpoint: Checkpoint) -> Raster:
        """See ``Step.apply``."""
        del checkpoint
        if self.above is not None:
            return _around(raster, self.above, self.margin_mm)
        counts: Sequence[float] = _along(self.size, raster, raster.shape)
        if self.size_mm is not None:
            counts = _voxels(self.size_mm, raster, otherwise=raster.shape)
        box = []
        for have, want in zip(raster.shape, counts, strict=True):
            kept = min(have, max(1, int(want)))
            first = (have - kept) // 2
            box.append((first, first + kept))
        return _cut(raster, box)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Pad(_Geometry):
    """Add voxels on every side, or as many as are missing to a size, half on either side."""

    size: _Counts | None = None
    margin_mm: _Lengths | None = None
    #: of what is added, in the unit of the image; None = the least there is. Masks: 0
    value: Number | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        exactly_one(self, "size", "margin_mm")
        return self

    @property
    def sizes(self) -> tuple[Any, ...]:
        """See ``Step.sizes``."""
        return tuple(one for one in (self.size, self.margin_mm) if one is not None)

    def apply(self, raster: Raster, checkpoint: Checkpoint) -> Raster:
        """See ``Step.apply``."""
        del checkpoint
        if self.margin_mm is not None:
            more = _voxels(self.margin_mm, raster, otherwise=(0, 0, 0))
            widths = [(int(count), int(count)) for count in more]
        else:
            missing = [
                max(0, int(want) - have)
                for have, want in zip(
                    raster.shape, _along(self.size, raster, raster.shape), strict=True
                )
            ]
            widths = [(count // 2, count - count // 2) for count in missing]
        _refuse_large([n + a + b for n, (a, b) in zip(raster.shape, widths, strict=True)])
        colours = [(0, 0)] * (raster.array.ndim - 3)
        array, filler = self._filled(raster)
        array = np.pad(array, [*widths, *colours], constant_values=filler)
        return raster.moved(array, _shift([-before for before, _ in widths]))

    def _filled(self, raster: Raster) -> tuple[NDArray[Any], Any]:
        """Return the array to pad, of a type that can hold the value it is padded with."""
        array = raster.array
        if raster.is_mask:
            return array, 0
        if self.value is None:
            return array, array.min() if raster.slope > 0 else array.max()
        stored = (self.value - raster.intercept) / raster.slope
        is_whole = array.dtype.kind in "iu" and stored == round(stored)
        if is_whole and np.iinfo(array.dtype).min <= stored <= np.iinfo(array.dtype).max:
            return array, int(stored)
        return array.astype(np.float32, copy=False), stored


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Orient(_Geometry):
    """Turn the axes to point where these letters say, e.g. "SPL" for an axial series.

    The letters are those of a model's ``orientation``: R, L, A, P, S, I of the patient.
    """

    to: Annotated[str, StringConstraints(pattern=r"^[RLAPSI]{3}$")]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(sum(letter in pair for letter in self.to) != 1 for pair in ("RL", "AP", "SI")):
            raise ValueError("it wants one letter each of RL, AP and SI")
        return self

    @property
    def takes_images(self) -> bool:
        """See ``Step.takes_images``."""
        return False

    def apply(self, raster: Raster, checkpoint: Checkpoint) -> Raster:
        """See ``Step.apply``."""
        del checkpoint
        affine = raster.affine
        if affine is None:
            raise ModelMismatch("only volumes can be turned in the patient")
        # nibabel's rule, so that an oblique volume turns as it does for models
        library: Any = nib.orientations
        found = library.io_orientation(_LPS_TO_RAS @ affine)
        change = library.ornt_transform(found, library.axcodes2ornt(tuple(self.to)))
        step = np.zeros((4, 4))
        step[3, 3] = 1
        for source, (axis, sign) in enumerate(change):
            step[source, int(axis)] = sign
            step[source, 3] = raster.shape[source] - 1 if sign < 0 else 0
        return raster.moved(library.apply_orientation(raster.array, change), step)


def _along(size: Any, raster: Raster, otherwise: Sequence[float]) -> tuple[float, ...]:
    """Return a size along all three axes; along frames what there is ``otherwise``."""
    sizes = size if isinstance(size, tuple) else (size,) * (2 if raster.has_frames else 3)
    return (otherwise[0], *sizes) if raster.has_frames else sizes


def _voxels(size_mm: Any, raster: Raster, otherwise: Sequence[int]) -> list[int]:
    """Return how many voxels hold so many mm, rounded up; along frames ``otherwise``."""
    sizes = zip(_along(size_mm, raster, otherwise), raster.spacing, strict=True)
    counts = [0 if math.isinf(length) else math.ceil(mm / length - 1e-6) for mm, length in sizes]
    return [otherwise[0], *counts[1:]] if raster.has_frames else counts


def _laid(
    raster: Raster, steps: Sequence[float], counts: Sequence[int], interpolation: Interpolation
) -> Raster:
    """Lay a grid of another step over the middle of the field of view."""
    _refuse_large(counts)
    matrix = np.diag([*steps, 1.0])
    for axis, (have, step, count) in enumerate(zip(raster.shape, steps, counts, strict=True)):
        matrix[axis, 3] = (have - count * step + step - 1) / 2
    order = 0 if raster.is_mask else _ORDER[interpolation]
    array = raster.array if order == 0 else raster.array.astype(np.float32)
    shape = (counts[0], counts[1], counts[2])
    made = sampled(array, matrix, shape, order=order, holds_edge=True)
    if raster.array.ndim == 4 and order > 0:
        made = made.round().clip(0, 255).astype(np.uint8)
    return raster.moved(made, matrix)


def _around(raster: Raster, above: float, margin_mm: float) -> Raster:
    mask = raster.values() > above
    if not mask.any():
        told = f"nothing of the image is above {above:g}, so it was not cropped to it"
        return raster.moved(raster.array, np.eye(4)).warned(told)
    margin = _voxels(margin_mm, raster, otherwise=(0, 0, 0)) if margin_mm else (0, 0, 0)
    box = []
    for axis, (count, more) in enumerate(zip(raster.shape, margin, strict=True)):
        inside = np.flatnonzero(mask.any(axis=tuple(one for one in range(3) if one != axis)))
        box.append((max(0, int(inside[0]) - more), min(count, int(inside[-1]) + 1 + more)))
    if raster.has_frames:
        box[0] = (0, raster.shape[0])
    return _cut(raster, box)


def _cut(raster: Raster, box: Sequence[tuple[int, int]]) -> Raster:
    array = raster.array[tuple(slice(first, past) for first, past in box)]
    starts, ends = zip(*box, strict=True)
    return raster.moved(array, _shift(starts), box=[*starts, *ends])


def _shift(voxels: Sequence[float]) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, 3] = voxels
    return matrix


def _refuse_large(counts: Sequence[int]) -> None:
    if math.prod(counts) > LARGEST_GRID:
        shape = " x ".join(map(str, counts))
        raise ModelMismatch(f"a step would make a grid of {shape} voxels")
