"""A statistic: one number of a set of cases, as a function of how much each case weighs.

Weights make one function serve every purpose. All ones give the value; how often each patient was
drawn gives a resample of a bootstrap, and many rows of weights give many of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: (resamples, cases): how often each case counts
Weights: TypeAlias = NDArray[np.float64]
#: (resamples,); NaN where there is no value
Values: TypeAlias = NDArray[np.float64]
Measure: TypeAlias = Callable[[Weights], Values]
#: names of statistics that are written otherwise than they are spelt
_TITLES: Final[Mapping[str, str]] = {
    "ap_50": "AP at IoU 0.5",
    "ap_50_95": "AP at IoU 0.5 to 0.95",
    "auc": "AUC",
    "brier": "Brier score",
    "dice": "Dice",
    "f1": "F1",
    "false_alarm_ml": "false alarm (ml)",
    "false_alarm_pixels": "false alarm (pixels)",
    "froc_mean": "mean of FROC",
    "hd95_mm": "HD95 (mm)",
    "map_50": "mAP at IoU 0.5",
    "map_50_95": "mAP at IoU 0.5 to 0.95",
    "mean_auc": "mean AUC",
    "mean_dice": "mean Dice",
    "object_ap_50": "AP of objects at IoU 0.5",
    "object_ap_50_95": "AP of objects at IoU 0.5 to 0.95",
    "objects_found_50": "objects found (hits / hits, misses and false alarms) at IoU 0.5",
    "objects_found_50_95": "objects found at IoU 0.5 to 0.95",
    "psnr_db": "PSNR (dB)",
    "psnr_gain_db": "gain of PSNR (dB)",
    "ssim": "SSIM",
    "ssim_gain": "gain of SSIM",
    "surface_dice": "surface Dice",
}


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """One number that is stated of a model."""

    name: str
    of: Measure
    #: (cases,): those that bear on it. Of two classes that are told apart, the rarer one
    bearing: NDArray[np.bool_]
    #: the label it is stated for; None = all together
    label: str | None = None
    #: None = it says nothing alone: an error that has a sign, a distance that leaves out what was
    #: missed. Versions are not compared by it
    is_higher_better: bool | None = True


def mean(
    name: str,
    values: Sequence[float | None],
    *,
    label: str | None = None,
    is_higher_better: bool | None = True,
) -> Statistic:
    """Return the mean over the cases that have a value."""
    numbers = np.array([np.nan if value is None else value for value in values], float)
    is_known = ~np.isnan(numbers)
    known = np.where(is_known, numbers, 0.0)

    def of(weights: Weights) -> Values:
        return share(weights @ known, weights @ is_known.astype(float))

    return Statistic(
        name=name, of=of, bearing=is_known, label=label, is_higher_better=is_higher_better
    )


def share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide; where there is nothing to divide by there is no value (NaN)."""
    found = np.full(np.shape(whole), np.nan)
    return np.asarray(np.divide(part, whole, out=found, where=whole > 0))


def value_of(statistic: Statistic) -> float | None:
    """Return the number for all cases as they are; None = it has no value."""
    found = float(statistic.of(np.ones((1, len(statistic.bearing))))[0])
    return None if np.isnan(found) else found


def title_of(name: str) -> str:
    """Return the name of a statistic as it is written: ``AUC``, ``balanced accuracy``."""
    return _TITLES.get(name, name.replace("_", " "))
