"""How sure a statistic is: percentile bootstraps over patients.

Patients are drawn, not cases: the cases of one patient are not independent, and drawn apart they
would make every interval too narrow. Efron and Tibshirani, "An Introduction to the Bootstrap",
1993, chapters 8 and 13.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.evaluation.statistic import Values, Weights

RESAMPLES: Final = 1000
SEED: Final = 0
#: per cent that lie below and above an interval of 95 %
_ENDS: Final = (2.5, 97.5)
#: an interval is stated where at least this share of the resamples have a value
_LEAST_WITH_VALUE: Final = 0.5


@dataclass(frozen=True)
class Interval:
    """Where the value lies in 95 of 100 resamples."""

    low: float
    high: float


def resamples(patients: Sequence[str], *, count: int = RESAMPLES, seed: int = SEED) -> Weights:
    """Return how often each case counts in each resample: (count, cases).

    As many patients are drawn as there are, with replacement, each with all of his cases. The
    same patients in the same order give the same resamples.
    """
    known, of_case = np.unique(np.asarray(patients, str), return_inverse=True)
    if not len(known):
        return np.zeros((count, 0))
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(known), np.full(len(known), 1.0 / len(known)), size=count)
    return drawn[:, of_case].astype(float)


def interval(values: Values, patients: int) -> Interval | None:
    """Return the interval of the values of many resamples.

    None where too few of them have one, and for a single patient: drawn again and again he says
    nothing of others.

    Args:
        values: of the resamples.
        patients: that bear on the value.

    """
    known = values[~np.isnan(values)]
    if patients < 2 or len(known) < max(1.0, _LEAST_WITH_VALUE * len(values)):
        return None
    low, high = np.percentile(known, _ENDS)
    return Interval(low=float(low), high=float(high))
