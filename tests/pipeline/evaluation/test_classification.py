"""Statistics of a classification against values worked out by hand and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pipeline.evaluation import classification, curves
from pipeline.evaluation.scores import Scores
from pipeline.evaluation.statistic import value_of
from tests.pipeline.evaluation import made_scores

#: 10 cases of label b by answers: 4 hits, 1 miss, 2 false alarms, 3 rightly left
TRUTH = [1, 1, 1, 1, 1, 0, 0, 0, 0, 0]
GIVEN = [0.95, 0.85, 0.75, 0.65, 0.35, 0.9, 0.6, 0.2, 0.1, 0.05]


def stated(scores: Scores, label: str | None = None) -> dict[str, float | None]:
    return {
        one.name: value_of(one) for one in classification.statistics(scores) if one.label == label
    }


def test_what_follows_from_four_counts() -> None:
    found = stated(made_scores.binary(TRUTH, GIVEN), "b")
    assert found["precision"] == pytest.approx(4 / 6)
    assert found["recall"] == pytest.approx(4 / 5)
    assert found["specificity"] == pytest.approx(3 / 5)
    assert found["f1"] == pytest.approx(2 * 4 / (2 * 4 + 1 + 2))


def test_accuracy_balanced_accuracy_and_confusion_of_three_labels() -> None:
    truth = [0, 0, 0, 0, 1, 1, 2, 2]
    answers = [0, 0, 0, 1, 1, 2, 2, 2]
    scores = made_scores.classified(truth, [np.eye(3)[answer] for answer in answers])
    found = stated(scores)
    assert found["accuracy"] == pytest.approx(6 / 8)
    assert found["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)
    assert classification.confusion(scores).tolist() == [[3, 1, 0], [0, 1, 1], [0, 0, 2]]


def test_balanced_accuracy_leaves_out_labels_without_cases() -> None:
    scores = made_scores.classified([0, 1, 1], [(1, 0, 0), (0, 1, 0), (1, 0, 0)])
    assert stated(scores)["balanced_accuracy"] == pytest.approx((1 + 1 / 2) / 2)
    assert stated(scores, "c")["recall"] is None


def test_the_area_is_the_share_of_pairs_in_the_right_order() -> None:
    pairs = [(p > n) + 0.5 * (p == n) for p in GIVEN[:5] for n in GIVEN[5:]]
    found = stated(made_scores.binary(TRUTH, GIVEN), "b")
    assert found["auc"] == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("seed", range(3))
def test_the_area_is_mann_whitneys_statistic_ties_and_all(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = np.r_[0, 1, random.integers(2, size=60)]
    given = random.integers(8, size=62) / 8
    positive, negative = given[truth == 1], given[truth == 0]
    expected = stats.mannwhitneyu(positive, negative).statistic / len(positive) / len(negative)
    ranks = stats.rankdata(given)[truth == 1].sum()
    by_ranks = (ranks - len(positive) * (len(positive) + 1) / 2) / len(positive) / len(negative)
    found = stated(made_scores.binary(truth.tolist(), given.tolist()), "b")["auc"]
    assert found == pytest.approx(expected) == pytest.approx(by_ranks)


def test_the_area_under_the_points_of_the_curve_is_the_area() -> None:
    truth, given = made_scores.random_binary(80, seed=4)
    scores = made_scores.binary(truth, [round(one, 1) for one in given])
    points = curves.roc(scores, 1)
    assert points[0] == (0, 0)
    assert points[-1] == (1, 1)
    across, up = zip(*points, strict=True)
    assert np.trapezoid(up, across) == pytest.approx(stated(scores, "b")["auc"])


def test_where_one_side_is_missing_there_is_neither_area_nor_curve() -> None:
    scores = made_scores.binary([1, 1], [0.2, 0.9])
    assert stated(scores, "b")["auc"] is None
    assert stated(scores, "a")["average_precision"] is None
    assert curves.roc(scores, 1) == []


def test_average_precision_by_hand() -> None:
    # from the best score: hit, miss, hit, hit of 3
    scores = made_scores.binary([1, 0, 1, 1], [0.9, 0.8, 0.7, 0.6])
    assert stated(scores, "b")["average_precision"] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    # of one score for all: the share of the positives
    level = made_scores.binary([1, 0, 1, 1], [0.5] * 4)
    assert stated(level, "b")["average_precision"] == pytest.approx(3 / 4)


def test_brier_by_hand_is_the_squared_error_of_two_labels() -> None:
    found = stated(made_scores.binary([1, 0], [0.7, 0.4]))
    assert found["brier"] == pytest.approx((0.3**2 + 0.4**2) / 2)
    three = made_scores.classified([0], [(0.5, 0.3, 0.2)])
    assert stated(three)["brier"] == pytest.approx((0.25 + 0.09 + 0.04) / 2)


def test_calibration_by_hand() -> None:
    # answers of 0.95 (3 of 4 right) and of 0.65 (1 of 2 right)
    scores = made_scores.binary([1, 1, 1, 0, 1, 0], [0.95] * 4 + [0.65] * 2)
    gap = 4 / 6 * (0.95 - 0.75) + 2 / 6 * (0.65 - 0.5)
    assert stated(scores)["calibration_error"] == pytest.approx(gap)
    assert curves.reliability(scores) == [
        {"from": 0.6, "cases": 2, "score": pytest.approx(0.65), "accuracy": 0.5},
        {"from": 0.9, "cases": 4, "score": pytest.approx(0.95), "accuracy": 0.75},
    ]


def test_certain_scores_lie_in_the_last_bin() -> None:
    assert classification.bins(np.array([0.0, 0.1, 0.99, 1.0])).tolist() == [0, 1, 9, 9]


def test_a_case_that_weighs_twice_counts_as_two_cases() -> None:
    truth, given = made_scores.random_binary(12, seed=1)
    given = [round(score, 1) for score in given]
    times = [1, 2, 3, 0] * 3
    many = made_scores.binary(np.repeat(truth, times).tolist(), np.repeat(given, times).tolist())
    once = made_scores.binary(truth, given)
    pairs = zip(classification.statistics(once), classification.statistics(many), strict=True)
    for weighed, repeated in pairs:
        assert weighed.of(np.array([times], float))[0] == pytest.approx(value_of(repeated))
