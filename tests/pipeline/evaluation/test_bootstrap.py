"""Resamples of patients, and whether intervals hold the truth as often as they say."""

from __future__ import annotations

import time

import numpy as np
import pytest

from pipeline.evaluation import bootstrap, summary
from pipeline.evaluation.statistic import mean
from tests.pipeline.evaluation import made_scores


def test_patients_are_drawn_with_all_of_their_cases() -> None:
    weights = bootstrap.resamples(["a", "b", "a", "c"], count=50)
    assert weights.shape == (50, 4)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert weights.std(axis=0).min() > 0


def test_the_same_seed_draws_the_same_patients() -> None:
    first, again = (bootstrap.resamples(["a", "b", "c"], count=20) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, bootstrap.resamples(["a", "b", "c"], count=20, seed=1))


def test_the_interval_of_known_values() -> None:
    found = bootstrap.interval(np.arange(1001.0), 2)
    assert found == bootstrap.Interval(low=25.0, high=975.0)


def test_resamples_without_a_value_are_left_out_but_not_when_they_are_most() -> None:
    values = np.r_[np.arange(1001.0), [np.nan] * 900]
    assert bootstrap.interval(values, 2) == bootstrap.Interval(low=25.0, high=975.0)
    assert bootstrap.interval(np.r_[1.0, [np.nan] * 2], 2) is None
    assert bootstrap.interval(np.zeros(0), 2) is None


def test_a_single_patient_has_no_interval() -> None:
    assert bootstrap.interval(np.full(1000, 0.7), 1) is None


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Patients of two cases that are alike: drawn by cases, intervals would be too narrow."""
    random, trials, patients = np.random.default_rng(1), 300, 100
    names = [str(number // 2) for number in range(2 * patients)]
    weights = bootstrap.resamples(names, count=1000)
    held = held_by_cases = 0
    by_cases = bootstrap.resamples([str(number) for number in range(len(names))], count=1000)
    for _ in range(trials):
        statistic = mean("height", np.repeat(random.normal(size=patients), 2).tolist())
        found, apart = (
            bootstrap.interval(statistic.of(one), patients) for one in (weights, by_cases)
        )
        assert found is not None
        assert apart is not None
        held += found.low <= 0.0 <= found.high
        held_by_cases += apart.low <= 0.0 <= apart.high
    assert 0.91 <= held / trials <= 0.98
    assert held_by_cases / trials < 0.88


def test_a_thousand_resamples_of_a_thousand_patients_take_seconds() -> None:
    scores = made_scores.binary(*made_scores.random_binary(1000, seed=0))
    start = time.perf_counter()
    found = summary.summarise(scores)
    assert time.perf_counter() - start < 10.0
    assert found["patients"] == 1000
    assert found["labels"]["b"]["auc"]["low"] < found["labels"]["b"]["auc"]["value"]


def test_means_leave_out_what_has_no_value() -> None:
    statistic = mean("size", [1.0, None, 4.0])
    assert statistic.bearing.tolist() == [True, False, True]
    assert statistic.of(np.array([[1.0, 5, 1], [1, 0, 2], [0, 1, 0]])).tolist() == pytest.approx(
        [2.5, 3.0, np.nan], nan_ok=True
    )
