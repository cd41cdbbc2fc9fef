"""Scores that mean what they say: temperature scaling, and sets that hold the true label.

Both work on the scores that a predictor states, so whatever a model does on the way to them (views,
members, the mean over slices) is part of what is calibrated. They are fitted on cases that the
network has not learned from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from pipeline.models.spec import Calibration

Scores = NDArray[np.float64]
_LEAST: Final = 1e-12
#: of temperatures that are tried, and how exactly one is found, as natural logarithms
_BOUNDS: Final = (math.log(0.05), math.log(20.0))
_EXACT: Final = 1e-6


def tempered(scores: Scores, temperature: float, *, is_exclusive: bool = True) -> Scores:
    """Return scores as if their logits had been divided by a temperature.

    Args:
        scores: (..., labels), 0 to 1.
        temperature: above 1 makes scores less certain; 1 changes nothing but their sum.
        is_exclusive: exactly one label holds (softmax), else any number of them (sigmoid).

    """
    likely = np.clip(scores, _LEAST, 1.0)
    if is_exclusive:
        powers = np.exp(np.log(likely / likely.max(axis=-1, keepdims=True)) / temperature)
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
    against = np.clip(1.0 - scores, _LEAST, 1.0)
    return np.asarray(1.0 / (1.0 + np.exp((np.log(against) - np.log(likely)) / temperature)))


def fit_temperature(scores: Scores, truth: NDArray[np.int64]) -> float:
    """Return the temperature under which the true labels are likeliest (Guo et al., ICML 2017).

    Args:
        scores: (cases, labels) of held-out cases, at temperature 1.
        truth: (cases,), the number of the true label of each.

    Raises:
        ValueError: no cases, or another number of truths than of cases.

    """
    _check(scores, truth)

    def loss(logarithm: Any) -> float:
        likely = tempered(scores, math.exp(float(logarithm)))
        return float(-np.log(np.clip(_of_truth(likely, truth), _LEAST, 1.0)).mean())

    found = optimize.minimize_scalar(
        loss, bounds=_BOUNDS, method="bounded", options={"xatol": _EXACT}
    )
    return math.exp(float(found.x))


def nonconformity(scores: Scores, truth: NDArray[np.int64]) -> tuple[float, ...]:
    """Return how far each true label was from certain, 0 to 1, least first.

    That is one minus its score (Sadinle, Lei and Wasserman, "Least ambiguous set-valued
    classifiers", JASA 2019).
    """
    _check(scores, truth)
    return tuple(float(one) for one in np.sort(1.0 - _of_truth(scores, truth)))


def calibrate(scores: Scores, truth: NDArray[np.int64]) -> Calibration:
    """Return what a model version keeps: its temperature, and the scores of prediction sets.

    Of the cases every second one fits the temperature and the others give the scores: a set keeps
    its promise only with scores of cases that nothing was fitted to.

    Raises:
        ValueError: fewer than two cases.

    """
    if len(scores) < 2:
        raise ValueError("a calibration needs two cases at least")
    temperature = fit_temperature(scores[::2], truth[::2])
    kept = tempered(scores[1::2], temperature)
    return Calibration(temperature=temperature, scores=nonconformity(kept, truth[1::2]))


def prediction_set(scores: Scores, calibration: Calibration, coverage: float) -> NDArray[np.bool_]:
    """Say which labels are in the set that holds the true one (split conformal prediction).

    Of new cases exchangeable with those of the calibration, the share whose set holds the true
    label is at least ``coverage`` on average. A set may hold every label or none.

    Args:
        scores: (labels,) at temperature 1, as the predictor states them without sampling.
        calibration: of the same model version.
        coverage: below 1.

    Returns:
        (labels,).

    """
    most = largest_nonconformity(calibration.scores, coverage)
    return np.asarray(1.0 - tempered(scores, calibration.temperature) <= most)


def largest_nonconformity(kept: Sequence[float], coverage: float) -> float:
    """Return the bound of a set: of ``n`` scores the one of rank ceil((n + 1) * coverage).

    Infinite where ``n`` are too few for the promise; then the set holds every label.
    """
    # 10 * 0.9 is 9.000000000000002 in some orders of the same product
    rank = math.ceil((len(kept) + 1) * coverage - 1e-9)
    return sorted(kept)[rank - 1] if rank <= len(kept) else math.inf


def _of_truth(scores: Scores, truth: NDArray[np.int64]) -> Scores:
    return np.asarray(np.take_along_axis(scores, truth[:, None], axis=1)[:, 0])


def _check(scores: Scores, truth: NDArray[np.int64]) -> None:
    if scores.ndim != 2 or not len(scores) or truth.shape != scores.shape[:1]:
        raise ValueError("scores are (cases, labels), truths one for each case")
