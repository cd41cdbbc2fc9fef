"""Temperatures that were put in are found again, and sets hold what they promise."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from pipeline.models import calibration
from pipeline.models.spec import Calibration

Cases = tuple[NDArray[np.float64], NDArray[np.int64]]


def cases(count: int, *, temperature: float, seed: int) -> Cases:
    """Return scores that are too sure by a temperature, and labels drawn from the true scores."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.0, 1.5, (count, 3))
    true = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (true.cumsum(1) < rng.random((count, 1))).sum(1)
    stated = np.exp(logits * temperature)
    return stated / stated.sum(1, keepdims=True), labels.astype(np.int64)


def test_a_temperature_divides_the_logits() -> None:
    logits = np.array([[2.0, -1.0, 0.5], [0.0, 0.0, 3.0]])
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    wanted = np.exp(logits / 3) / np.exp(logits / 3).sum(1, keepdims=True)
    np.testing.assert_allclose(calibration.tempered(scores, 3.0), wanted, atol=1e-12)
    np.testing.assert_allclose(calibration.tempered(scores, 1.0), scores, atol=1e-12)
    single = 1 / (1 + np.exp(-logits))
    halved = calibration.tempered(single, 2.0, is_exclusive=False)
    np.testing.assert_allclose(halved, 1 / (1 + np.exp(-logits / 2)), atol=1e-9)


def test_scores_of_nothing_and_everything_stay_finite() -> None:
    found = calibration.tempered(np.array([1.0, 0.0]), 0.01)
    np.testing.assert_allclose(found, [1.0, 0.0], atol=1e-9)
    apart = calibration.tempered(np.array([1.0, 0.0]), 5.0, is_exclusive=False)
    assert np.isfinite(apart).all()


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found_again(temperature: float) -> None:
    found = calibration.fit_temperature(*cases(20_000, temperature=temperature, seed=1))
    assert found == pytest.approx(temperature, rel=0.05)


def test_the_fitted_temperature_is_the_likeliest() -> None:
    scores, labels = cases(500, temperature=2.0, seed=2)

    def loss(temperature: float) -> float:
        likely = calibration.tempered(scores, temperature)[np.arange(500), labels]
        return float(-np.log(likely).mean())

    best = calibration.fit_temperature(scores, labels)
    assert loss(best) <= min(loss(best * factor) for factor in (0.5, 0.98, 1.02, 2.0))
    assert loss(best) < loss(1.0)


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_prediction_sets_hold_the_true_label_as_often_as_promised(coverage: float) -> None:
    fitted = calibration.calibrate(*cases(2000, temperature=2.5, seed=3))
    scores, labels = cases(5000, temperature=2.5, seed=4)
    sets = np.array([calibration.prediction_set(one, fitted, coverage) for one in scores])
    held = int(sets[np.arange(len(labels)), labels].sum())
    # given one calibration, coverage itself is drawn from a beta distribution (Vovk, ACML 2012)
    count = len(fitted.scores)
    rank = math.ceil((count + 1) * coverage)
    law = stats.betabinom(len(labels), rank, count + 1 - rank)
    assert law.ppf(0.001) <= held <= law.ppf(0.999)
    # and that by sets which still say something
    assert sets.sum(1).mean() < 2.7


def test_the_bound_of_a_set_is_the_score_of_its_rank() -> None:
    kept = tuple(number / 10 for number in range(1, 10))
    assert calibration.largest_nonconformity(kept, 0.9) == 0.9
    assert calibration.largest_nonconformity(kept, 0.8) == 0.8
    assert calibration.largest_nonconformity(kept, 0.5) == 0.5


def test_too_few_scores_for_a_promise_give_every_label() -> None:
    few = Calibration(scores=(0.1, 0.2, 0.3))
    assert calibration.prediction_set(np.array([0.99, 0.01]), few, 0.9).tolist() == [True, True]
    assert calibration.prediction_set(np.array([0.99, 0.01]), few, 0.5).tolist() == [True, False]


def test_a_set_is_made_at_the_temperature_of_its_scores() -> None:
    kept = Calibration(scores=(0.0, 0.2, 0.4))
    scores = np.array([0.9, 0.1])
    assert calibration.prediction_set(scores, kept, 0.5).tolist() == [True, False]
    cooler = replace(kept, temperature=4.0)
    # the score of 0.9 is 0.63 there: not within 0.2
    assert calibration.prediction_set(scores, cooler, 0.5).tolist() == [False, False]


def test_half_of_the_cases_fit_and_the_other_half_gives_the_scores() -> None:
    scores, labels = cases(101, temperature=2.0, seed=5)
    fitted = calibration.calibrate(scores, labels)
    assert fitted.temperature == calibration.fit_temperature(scores[::2], labels[::2])
    assert len(fitted.scores) == 50
    assert list(fitted.scores) == sorted(fitted.scores)
    others = calibration.tempered(scores[1::2], fitted.temperature)
    assert fitted.scores == calibration.nonconformity(others, labels[1::2])


def test_cases_that_do_not_hold_together_are_refused() -> None:
    scores, labels = cases(4, temperature=1.0, seed=6)
    with pytest.raises(ValueError, match="two cases"):
        calibration.calibrate(scores[:1], labels[:1])
    with pytest.raises(ValueError, match="one for each case"):
        calibration.fit_temperature(scores, labels[:3])
