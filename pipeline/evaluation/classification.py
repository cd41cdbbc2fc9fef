"""Statistics of a classification. The answer to a case is the label of the highest score.

Of each label against all others: precision, recall (sensitivity), specificity, F1, area under the
ROC curve, average precision. Of all together: accuracy, balanced accuracy (mean recall), Brier
score and expected calibration error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.scores import Scores
from pipeline.evaluation.statistic import Measure, Statistic, Values, Weights, mean, share

Ranking: TypeAlias = Callable[[Weights, NDArray[np.float64], NDArray[np.bool_]], Values]
#: of the scores, all of one width
BINS: Final = 10


def statistics(scores: Scores) -> Iterator[Statistic]:
    """Yield the statistics of all cases together, then those of each label."""
    truth, given = table(scores)
    yield mean("accuracy", (given.argmax(axis=1) == truth).astype(float).tolist())
    yield _balanced_accuracy(truth, given)
    yield mean("brier", brier(truth, given).tolist(), is_higher_better=False)
    yield _calibration_error(truth, given)
    for number, label in enumerate(scores.labels):
        is_true, is_said = truth == number, given.argmax(axis=1) == number
        yield from counted(label, is_true, is_said)
        yield from ranked(label, is_true, given[:, number])


def table(scores: Scores) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the true labels (cases,) and the scores (cases, labels)."""
    answers = [case.classified for case in scores.cases if case.classified is not None]
    truth = np.array([one.truth for one in answers], np.int64)
    given = np.array([one.scores for one in answers], float)
    return truth, given.reshape(len(answers), len(scores.labels))


def confusion(scores: Scores) -> NDArray[np.int64]:
    """Count the cases: rows are the truth, columns the answer, in the order of the labels."""
    truth, given = table(scores)
    counts = np.zeros((len(scores.labels), len(scores.labels)), np.int64)
    np.add.at(counts, (truth, given.argmax(axis=1)), 1)
    return counts


def brier(truth: NDArray[np.int64], given: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return half the squared distance to the truth, of each case, summed over labels.

    Brier, "Verification of Forecasts Expressed in Terms of Probability", Monthly Weather Review
    1950; halved, so that it runs from 0 to 1 and is, for two labels, the squared error of one.
    """
    wanted = np.eye(given.shape[1])[truth]
    return np.asarray(((given - wanted) ** 2).sum(axis=1) / 2.0)


def area_under_curve(
    weights: Weights, scores: NDArray[np.float64], is_positive: NDArray[np.bool_]
) -> Values:
    """Return the area under the ROC curve: the share of pairs in the right order, ties by half."""
    positive, negative = _by_score(weights, scores, is_positive)
    # from the highest score down: what is left is below
    below = negative.sum(axis=1, keepdims=True) - negative.cumsum(axis=1)
    pairs = (positive * (below + 0.5 * negative)).sum(axis=1)
    return share(pairs, positive.sum(axis=1) * negative.sum(axis=1))


def average_precision(
    weights: Weights, scores: NDArray[np.float64], is_positive: NDArray[np.bool_]
) -> Values:
    """Return the mean precision at each positive, nothing interpolated; ties are taken together."""
    positive, negative = _by_score(weights, scores, is_positive)
    hits = positive.cumsum(axis=1)
    precision = np.nan_to_num(share(hits, hits + negative.cumsum(axis=1)))
    return share((positive * precision).sum(axis=1), positive.sum(axis=1))


def _by_score(
    weights: Weights, scores: NDArray[np.float64], is_positive: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what positives and negatives weigh at each score, from the highest down."""
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.nan) != 0)
    if not len(starts):
        return np.zeros((len(weights), 0)), np.zeros((len(weights), 0))
    sorted_weights, positive = weights[:, order], is_positive[order]
    return (
        np.add.reduceat(sorted_weights * positive, starts, axis=1),
        np.add.reduceat(sorted_weights * ~positive, starts, axis=1),
    )


def _ranking(measure: Ranking, scores: NDArray[np.float64], is_true: NDArray[np.bool_]) -> Measure:
    return lambda weights: measure(weights, scores, is_true)


def ranked(
    label: str, is_true: NDArray[np.bool_], scores: NDArray[np.float64]
) -> Iterator[Statistic]:
    """Yield what follows from the order of the scores of one label, (cases,)."""
    rarer = is_true if 2 * is_true.sum() <= len(is_true) else ~is_true
    for name, measure in (("auc", area_under_curve), ("average_precision", average_precision)):
        of = _ranking(measure, scores, is_true)
        yield Statistic(name=name, label=label, bearing=rarer, of=of)


def counted(
    label: str, is_true: NDArray[np.bool_], is_said: NDArray[np.bool_]
) -> Iterator[Statistic]:
    """Yield what follows from four counts of one label; each is a share of cases by cases."""
    both, neither = is_true & is_said, ~is_true & ~is_said
    either = (is_true.astype(float) + is_said.astype(float)) / 2.0
    parts = {
        "precision": (both, is_said.astype(float)),
        "recall": (both, is_true.astype(float)),
        "specificity": (neither, (~is_true).astype(float)),
        "f1": (both, either),
    }
    for name, (part, whole) in parts.items():
        of = _ratio(part.astype(float), whole)
        yield Statistic(name=name, label=label, bearing=whole > 0, of=of)


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> Measure:
    return lambda weights: share(weights @ part, weights @ whole)


def _balanced_accuracy(truth: NDArray[np.int64], given: NDArray[np.float64]) -> Statistic:
    """Return the mean recall over the labels that there are cases of."""
    is_there = np.eye(given.shape[1])[truth]
    is_right = is_there * (given.argmax(axis=1) == truth)[:, None]

    def of(weights: Weights) -> Values:
        recalls = share(weights @ is_right, weights @ is_there)
        is_known = ~np.isnan(recalls)
        return share(np.nan_to_num(recalls).sum(axis=1), 1.0 * is_known.sum(axis=1))

    return Statistic(name="balanced_accuracy", of=of, bearing=np.ones(len(truth), bool))


def _calibration_error(truth: NDArray[np.int64], given: NDArray[np.float64]) -> Statistic:
    """Return how far scores of answers lie from how often they are right, over bins.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    surplus = given.max(axis=1) - (given.argmax(axis=1) == truth)
    in_bin = np.eye(BINS)[bins(given.max(axis=1))]

    def of(weights: Weights) -> Values:
        gaps = np.abs(weights @ (in_bin * surplus[:, None])).sum(axis=1)
        return share(gaps, weights.sum(axis=1))

    return Statistic(
        name="calibration_error",
        of=of,
        bearing=np.ones(len(truth), bool),
        is_higher_better=False,
    )


def bins(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the bin of each score, 0 to 1; a score on an edge belongs to the bin above."""
    return np.minimum((scores * BINS).astype(np.int64), BINS - 1)
