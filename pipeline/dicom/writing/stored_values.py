"""Values in a modality's unit as stored integers with a rescale, and how exact they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ComputeFailed
from pipeline.reasons import Reason

_SIGNED: Final = (-32768, 32767)
_UNSIGNED: Final = (0, 65535)
#: a range this wide in steps of one is as fine as scanners are: rounding costs at most 0.1 percent
_FINE_ENOUGH: Final = 512.0


@dataclass(frozen=True, kw_only=True)
class StoredValues:
    """16-bit integers; a value is ``pixels * slope + intercept``."""

    #: int16 or uint16
    pixels: NDArray[Any] = field(repr=False)
    slope: float
    intercept: float
    #: bound of the difference between what was given and what can be read back
    error: float


def stored_values(values: NDArray[np.float32], *, modality: str, unit: str) -> StoredValues:
    """Choose a rescale and round.

    CT keeps HU: slope 1, intercept 0, signed, so that every viewer shows and measures HU. PET
    has no intercept (PS3.3 C.8.9.4.1.5), the slope follows from the largest value. Others are
    kept in steps of 1 where their range is wide enough, else spread over 16 bits.

    Raises:
        ComputeFailed: a value is not finite, or a CT value does not fit into 16 bits.

    """
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        sentence = "the derived image holds values that are not finite"
        raise ComputeFailed(sentence, Reason.RUN_ERROR)
    slope, intercept = _rescale(low, high, modality)
    is_signed = (low - intercept) / slope < 0
    limits = _SIGNED if is_signed else _UNSIGNED
    rounded = np.rint((values.astype(np.float64) - intercept) / slope)
    if rounded.min() < limits[0] or rounded.max() > limits[1]:
        sentence = f"the derived image holds values beyond 16 bits of {unit or 'its unit'}"
        raise ComputeFailed(sentence, Reason.RUN_ERROR)
    return StoredValues(
        pixels=rounded.astype(np.int16 if is_signed else np.uint16),
        slope=slope,
        intercept=intercept,
        error=slope / 2,
    )


def _rescale(low: float, high: float, modality: str) -> tuple[float, float]:
    if modality == "CT":
        return 1.0, 0.0
    if modality == "PT":
        largest = max(-low / -_SIGNED[0], high / _SIGNED[1]) if low < 0 else high / _UNSIGNED[1]
        return _written(largest) if largest > 0 else 1.0, 0.0
    limits = _SIGNED if low < 0 else _UNSIGNED
    if high - low >= _FINE_ENOUGH and limits[0] <= low and high <= limits[1]:
        return 1.0, 0.0
    intercept = _written(low, up=False)
    step = (high - intercept) / _UNSIGNED[1]
    return (_written(step) if step > 0 else 1.0), intercept


def _written(value: float, *, up: bool = True) -> float:
    """Return ``value`` as a decimal string of 10 digits gives it back, not less (or not more)."""
    rounded = float(f"{value:.9e}")
    if (rounded < value) if up else (rounded > value):
        step = 10.0 ** (np.floor(np.log10(abs(value))) - 9)
        rounded = float(f"{value + (step if up else -step):.9e}")
    return rounded
