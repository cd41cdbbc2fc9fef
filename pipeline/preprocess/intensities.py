"""Steps that change values voxel by voxel, or by their histogram."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from pipeline.errors import ModelMismatch
from pipeline.preprocess.raster import STRICT, Checkpoint, Number, Raster, Step, parts

#: along an axis a tile of fewer voxels has no histogram to speak of
_SMALLEST_TILE: Final = 2
#: of red, green and blue
_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Normalise(Step):
    """Scale values: to mean 0 and deviation 1, or a range of them to 0 to 1."""

    keeps_unit: ClassVar[bool] = False

    by: Literal["z_score", "percentiles", "range"]
    #: of ``percentiles``: these become 0 and 1, what lies beyond is clipped
    low: float = Field(default=0.5, ge=0, le=100)
    high: float = Field(default=99.5, ge=0, le=100)
    #: only what is above the least value, which is taken for background, is measured
    foreground: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.low < self.high:
            raise ValueError("low must be below high")
        return self

    def apply(self, raster: Raster, checkpoint: Checkpoint) -> Raster:
        """See ``Step.apply``."""
        del checkpoint
        values = raster.values()
        measured = values[values > values.min()] if self.foreground else values
        if measured.size == 0:
            measured = values
        if self.by == "z_score":
            # float64: the sum of a large volume has more digits than float32 holds
            mean, deviation = measured.mean(dtype=np.float64), measured.std(dtype=np.float64)
            scaled = _scaled(values, float(mean), float(deviation))
            return raster.with_values(scaled, unit="", mean=float(mean), deviation=float(deviation))
        ends = (self.low, self.high) if self.by == "percentiles" else (0, 100)
        low, high = (float(one) for one in np.percentile(measured, ends))
        scaled = _scaled(values, low, high - low)
        return raster.with_values(scaled.clip(0, 1), unit="", low=low, high=high)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Window(Step):
    """Clip values to a window; they stay in their unit."""

    level: Number
    width: Annotated[float, Field(gt=0, allow_inf_nan=False)]

    def apply(self, raster: Raster, checkpoint: Checkpoint) -> Raster:
        """See ``Step.apply``."""
        del checkpoint
        values, half = raster.values(), self.width / 2
        return raster.with_values(values.clip(self.level - half, self.level + half, out=values))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Adjust(Step):
    """Contrast, brightness and gamma, in this order, of values scaled to 0 to 1 by their range."""

    keeps_unit: ClassVar[bool] = False

    #: slope about 0.5
    contrast: float = Field(default=1.0, ge=0, le=100)
    #: added
    brightness: float = Field(default=0.0, ge=-1, le=1)
    #: exponent of what was clipped to 0 to 1: below 1 is brighter
    gamma: float = Field(default=1.0, gt=0, le=100)

    def apply(self, raster: Raster, checkpoint: Checkpoint) -> Raster:
        """See ``Step.apply``."""
        del checkpoint
        values, low, high = _unit_range(raster)
        values = (values - np.float32(0.5)) * np.float32(self.contrast)
        values += np.float32(0.5 + self.brightness)
        adjusted = values.clip(0, 1) ** np.float32(self.gamma)
        return raster.with_values(adjusted, unit="", low=low, high=high)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Grey(Step):
    """The luma of colours, 0 to 255, by the weights of ITU-R BT.601; grey values stay as they are.

    With ``saturation`` it is how far the largest of the three lies above the least, 0 to 255: what
    is stained or coloured is bright, what is white, grey or black is dark.
    """

    by: Literal["luma", "saturation"] = "luma"

    def apply(self, raster: Raster, checkpoint: Checkpoint) -> Raster:
        """See ``Step.apply``."""
        if raster.array.ndim == 3:
            return raster
        values = np.empty(raster.shape, np.float32)
        for frame, value in zip(raster.array, values, strict=True):
            checkpoint()
            value[...] = frame @ _LUMA if self.by == "luma" else np.ptp(frame, axis=2)
        return raster.with_values(values)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Clahe(Step):
    """Contrast limited adaptive histogram equalisation; values become 0 to 1.

    Pizer et al., Computer Vision, Graphics, and Image Processing 39 (1987). Slice by slice each
    is spread over the whole of 0 to 1.
    """

    keeps_unit: ClassVar[bool] = False

    #: along each axis
    tiles: int = Field(default=8, ge=1, le=64)
    #: share of a tile's voxels that one of its bins may hold; 1 = no limit
    clip_limit: float = Field(default=0.01, gt=0, le=1)
    bins: int = Field(default=256, ge=2, le=16384)
    slicewise: bool = True

    def apply(self, raster: Raster, checkpoint: Checkpoint) -> Raster:
        """See ``Step.apply``."""
        values, low, high = _unit_range(raster)
        for part in parts(values, planes=self.slicewise or raster.has_frames):
            checkpoint()
            part[...] = self._equalised(part)
        return raster.with_values(values, unit="", low=low, high=high)

    def _equalised(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        from skimage import exposure

        if min(values.shape) < max(5, _SMALLEST_TILE * self.tiles):
            # of 3 or 4 along the last axis scikit-image would make colours
            shape = " x ".join(map(str, values.shape))
            raise ModelMismatch(f"{self.tiles} tiles along each axis do not fit into {shape}")
        if values.min() == values.max():
            return values
        size = [max(1, count // self.tiles) for count in values.shape]
        equalised = exposure.equalize_adapthist(
            values, kernel_size=size, clip_limit=self.clip_limit, nbins=self.bins
        )
        return np.asarray(equalised, np.float32)


def _scaled(values: NDArray[np.float32], start: float, length: float) -> NDArray[np.float32]:
    """Return ``(values - start) / length``; of values that are all alike, 0."""
    values -= np.float32(start)
    return values / np.float32(length) if length > 0 else np.zeros_like(values)


def _unit_range(raster: Raster) -> tuple[NDArray[np.float32], float, float]:
    """Return the values scaled to 0 to 1 by their range, and the range."""
    values = raster.values()
    low, high = float(values.min()), float(values.max())
    return _scaled(values, low, high - low).clip(0, 1), low, high
