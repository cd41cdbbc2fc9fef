"""Statistics of a classification with any number of labels for each case.

A label is stated from a score of one half on. Of each label: precision, recall, specificity, F1,
area under the ROC curve, average precision. Of all together: the mean area, the share of cases
that all labels are right of, and the Brier score.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.classification import area_under_curve, counted, ranked
from pipeline.evaluation.scores import Scores
from pipeline.evaluation.statistic import Statistic, Values, Weights, mean, share

#: a label is stated from this score on
STATED_FROM: Final = 0.5


def statistics(scores: Scores) -> Iterator[Statistic]:
    """Yield the statistics of all labels together, then those of each label."""
    truth, given = table(scores)
    is_said = given >= STATED_FROM
    yield mean("exact_match", (is_said == truth).all(axis=1).astype(float).tolist())
    yield _mean_area(truth, given)
    squared = ((given - truth) ** 2).mean(axis=1)
    yield mean("brier", squared.tolist(), is_higher_better=False)
    for number, label in enumerate(scores.labels):
        yield from counted(label, truth[:, number], is_said[:, number])
        yield from ranked(label, truth[:, number], given[:, number])


def table(scores: Scores) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return which labels are true and the scores, both (cases, labels)."""
    answers = [case.labelled for case in scores.cases if case.labelled is not None]
    shape = (len(answers), len(scores.labels))
    truth = np.array([one.truth for one in answers], bool).reshape(shape)
    return truth, np.array([one.scores for one in answers], float).reshape(shape)


def _mean_area(truth: NDArray[np.bool_], given: NDArray[np.float64]) -> Statistic:
    """Return the mean area under the ROC curve over the labels that have one."""

    def of(weights: Weights) -> Values:
        areas = np.stack(
            [
                area_under_curve(weights, given[:, number], truth[:, number])
                for number in range(truth.shape[1])
            ],
            axis=1,
        )
        is_known = ~np.isnan(areas)
        return share(np.nan_to_num(areas).sum(axis=1), 1.0 * is_known.sum(axis=1))

    return Statistic(name="mean_auc", of=of, bearing=np.ones(len(truth), bool))
