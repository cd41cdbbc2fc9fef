"""Statistics of a detection, by the matching of ``matching``.

At the threshold of the model: sensitivity and false positives per scan. Over all scores that the
model states: average precision as COCO's (precision made monotone, its mean at 101 recalls, Lin et
al., "Microsoft COCO", ECCV 2014) and FROC as LUNA16's (sensitivity at 1/8 to 8 false positives per
scan, Setio et al., Medical Image Analysis 2017).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation import matching
from pipeline.evaluation.scores import Boxes, Scores
from pipeline.evaluation.statistic import Measure, Statistic, Values, Weights, share

FALSE_POSITIVE_RATES: Final = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
#: 0.5 to 0.95 in steps of 0.05
COCO_IOUS: Final = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
_RECALLS: Final = np.linspace(0.0, 1.0, 101)
#: rows of weights that are worked on at once: they are as wide as all detections of all cases
_AT_ONCE: Final = 64


@dataclass(frozen=True)
class Pooled:
    """Detections of one label in all cases, best first; ties in the order of the cases."""

    #: (detections,): the case of each
    case: NDArray[np.int64]
    #: (overlaps asked for, detections): whether it hits a box
    is_hit: NDArray[np.bool_]
    #: (cases,): how many boxes are true
    truths: NDArray[np.float64]


def pool(cases: Sequence[Boxes], *least: float) -> Pooled:
    """Match every case by an IoU of at least each of ``least`` and pool the detections."""
    scores = np.array([score for case in cases for score in case.scores], float)
    order = np.argsort(-scores, kind="stable")
    hits = [[hit for case in cases for hit in matching.hits(case, one)] for one in least]
    counts = [len(case.scores) for case in cases]
    return Pooled(
        case=np.repeat(np.arange(len(cases)), counts)[order],
        is_hit=np.array(hits, bool).reshape(len(least), len(scores))[:, order],
        truths=np.array([case.truths for case in cases], float),
    )


def statistics(scores: Scores) -> Iterator[Statistic]:
    """Yield the statistics of each label, and before them what is a mean over labels."""
    by_label = [
        [case.boxes[number] for case in scores.cases] for number in range(len(scores.labels))
    ]
    has = [_has_boxes(boxes) for boxes in by_label]
    measured = {
        name: [precision_at(boxes, *ious) for boxes in by_label]
        for name, ious in (("50", (0.5,)), ("50_95", COCO_IOUS))
    }
    for name, each in measured.items():
        yield Statistic(name=f"map_{name}", of=_mean_over(each), bearing=np.any(has, axis=0))
    for number, (label, boxes) in enumerate(zip(scores.labels, by_label, strict=True)):
        pooled = pool(boxes, scores.hit_iou)
        yield from _at_threshold(label, pooled)
        over_scores = {
            "average_precision": precision_at(boxes, scores.hit_iou),
            **{f"ap_{name}": each[number] for name, each in measured.items()},
            "froc_mean": _froc_mean(pooled),
        }
        for name, of in over_scores.items():
            yield Statistic(name=name, label=label, bearing=has[number], of=of)


def average_precision(cases: Sequence[Boxes], least: float) -> float | None:
    """Return the average precision of one label over cases that all count alike."""
    found = float(precisions(pool(cases, least), np.ones((1, len(cases))))[0])
    return None if np.isnan(found) else found


def precision_at(boxes: Sequence[Boxes], *ious: float) -> Measure:
    """Return the average precision of one label, its mean over some least overlaps."""
    pooled = pool(boxes, *ious)
    return lambda weights: precisions(pooled, weights)


def precisions(pooled: Pooled, weights: Weights) -> Values:
    """Return the average precision, its mean over the overlaps that were asked for."""
    truths = weights @ pooled.truths
    found = np.full(len(weights), np.nan)
    for start in range(0, len(weights), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        of_each = weights[rows][:, pooled.case]
        so_far = of_each.cumsum(axis=1)
        of_overlaps = []
        for is_hit in pooled.is_hit:
            # between two hits precision only falls, so what the curve needs is at the hits
            hits = of_each[:, is_hit].cumsum(axis=1)
            precision = np.nan_to_num(share(hits, so_far[:, is_hit]))
            envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            recalls = hits / np.maximum(truths[rows], 1.0)[:, None]
            of_overlaps.append(_mean_at_recalls(recalls, envelope))
        found[rows] = np.mean(of_overlaps, axis=0)
    return np.where(truths > 0, found, np.nan)


def sensitivities(pooled: Pooled, weights: Weights) -> NDArray[np.float64]:
    """Return (resamples, rates): the sensitivity at each of ``FALSE_POSITIVE_RATES``.

    Of the first of the overlaps that were asked for.
    """
    scans, truths = weights.sum(axis=1), weights @ pooled.truths
    found = np.zeros((len(weights), len(FALSE_POSITIVE_RATES)))
    for start in range(0, len(weights), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        of_each = weights[rows][:, pooled.case]
        hits = (of_each * pooled.is_hit[0]).cumsum(axis=1)
        alarms = of_each.cumsum(axis=1) - hits
        before = np.concatenate([np.zeros((len(hits), 1)), hits], axis=1)
        for number, rate in enumerate(FALSE_POSITIVE_RATES):
            allowed = (alarms <= rate * scans[rows, None]).sum(axis=1)
            found[rows, number] = np.take_along_axis(before, allowed[:, None], axis=1)[:, 0]
    return share(found, np.repeat(truths[:, None], len(FALSE_POSITIVE_RATES), axis=1))


def froc(cases: Sequence[Boxes], least: float) -> dict[str, float] | None:
    """Return the sensitivity at each allowed number of false positives per scan."""
    if not any(case.truths for case in cases):
        return None
    (reached,) = sensitivities(pool(cases, least), np.ones((1, len(cases))))
    return {
        f"{rate:g}": float(one) for rate, one in zip(FALSE_POSITIVE_RATES, reached, strict=True)
    }


def _mean_at_recalls(
    recalls: NDArray[np.float64], envelope: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the mean, of each row, of the precision at 101 recalls; 0 where one is not reached."""
    reached = np.searchsorted(_RECALLS, recalls, side="right")
    by_this_hit = np.diff(reached, axis=1, prepend=0)
    return np.asarray((by_this_hit * envelope).sum(axis=1) / len(_RECALLS))


def _froc_mean(pooled: Pooled) -> Measure:
    return lambda weights: sensitivities(pooled, weights).mean(axis=1)


def _at_threshold(label: str, pooled: Pooled) -> Iterator[Statistic]:
    """Yield what all detections come to that the model states."""
    every = np.ones(len(pooled.truths), bool)
    is_hit = pooled.is_hit[0]
    hits = np.bincount(pooled.case[is_hit], minlength=len(every)).astype(float)
    alarms = np.bincount(pooled.case[~is_hit], minlength=len(every)).astype(float)
    yield Statistic(
        name="sensitivity",
        label=label,
        bearing=pooled.truths > 0,
        of=lambda weights: share(weights @ hits, weights @ pooled.truths),
    )
    yield Statistic(
        name="false_positives_per_scan",
        label=label,
        bearing=every,
        is_higher_better=False,
        of=lambda weights: share(weights @ alarms, weights.sum(axis=1)),
    )


def _has_boxes(boxes: Sequence[Boxes]) -> NDArray[np.bool_]:
    return np.array([case.truths > 0 for case in boxes], bool)


def _mean_over(labels: Sequence[Measure]) -> Measure:
    """Return the mean over labels, of each resample, of those that have a value in it."""

    def mean(weights: Weights) -> Values:
        table = np.array([of(weights) for of in labels])
        return share(np.nan_to_num(table).sum(axis=0), 1.0 * (~np.isnan(table)).sum(axis=0))

    return mean
