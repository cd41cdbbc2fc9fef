"""The points of the curves that say how a model does at every threshold."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from pipeline.evaluation import classification, detection, labelling
from pipeline.evaluation.scores import Scores

#: x and y, both ascending in x
Points: TypeAlias = list[tuple[float, float]]


def roc(scores: Scores, number: int) -> Points:
    """Return (1 - specificity, sensitivity) of one label at each score, from (0, 0) to (1, 1).

    Empty where one of the two sides has no case.
    """
    if scores.kind == "multi-label":
        every, given = labelling.table(scores)
        is_positive = every[:, number]
    else:
        truth, given = classification.table(scores)
        is_positive = truth == number
    score = given[:, number]
    positives, negatives = int(is_positive.sum()), int((~is_positive).sum())
    if not positives or not negatives:
        return []
    order = np.argsort(-score, kind="stable")
    # cases of one score are on the same side of every threshold
    ends = np.flatnonzero(np.diff(score[order], append=np.nan) != 0)
    sensitivity = is_positive[order].cumsum()[ends] / positives
    false_alarms = (~is_positive[order]).cumsum()[ends] / negatives
    return corners([(0.0, 0.0), *zip(false_alarms.tolist(), sensitivity.tolist(), strict=True)])


def froc(scores: Scores, number: int) -> Points:
    """Return (false positives per scan, sensitivity) of one label after each detection.

    Empty where no case has a box of it.
    """
    boxes = [case.boxes[number] for case in scores.cases]
    pooled = detection.pool(boxes, scores.hit_iou)
    if not pooled.truths.sum():
        return []
    (is_hit,) = pooled.is_hit
    hits = is_hit.cumsum() / pooled.truths.sum()
    alarms = (~is_hit).cumsum() / len(boxes)
    return corners([(0.0, 0.0), *zip(alarms.tolist(), hits.tolist(), strict=True)])


def corners(points: Points) -> Points:
    """Return the points without those in the middle of an upright or a level stretch."""
    kept = points[:1]
    for point, after in zip(points[1:], [*points[2:], None], strict=True):
        before = kept[-1]
        is_straight = after is not None and any(
            before[axis] == point[axis] == after[axis] for axis in (0, 1)
        )
        if not is_straight:
            kept.append(point)
    return kept


def reliability(scores: Scores) -> list[dict[str, Any]]:
    """Return for each bin of the score of the answer how many cases, mean score and accuracy."""
    truth, given = classification.table(scores)
    score, is_right = given.max(axis=1), given.argmax(axis=1) == truth
    rows = []
    for number, of_case in (
        (bin_, classification.bins(score) == bin_) for bin_ in range(classification.BINS)
    ):
        if of_case.any():
            rows.append(
                {
                    "from": number / classification.BINS,
                    "cases": int(of_case.sum()),
                    "score": float(score[of_case].mean()),
                    "accuracy": float(is_right[of_case].mean()),
                }
            )
    return rows
