"""Boxes that were found against boxes that are true: who hits whom, and what curves follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: a detection hits a box when they overlap at least this much (intersection over union)
HIT_IOU = 0.1
FALSE_POSITIVE_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Matched:
    """Detections of one label in one case, best first, each marked as a hit or a false alarm."""

    scores: NDArray[np.float64]
    is_hit: NDArray[np.bool_]
    truths: int


def match(
    boxes: NDArray[np.float64], scores: NDArray[np.float64], truths: NDArray[np.float64]
) -> Matched:
    """Give each truth the best-scored detection that hits it; the others are false alarms.

    Boxes (N, 2 * dims) hold all lower corners, then all upper ones.
    """
    order = np.argsort(-scores, kind="stable")
    overlap = intersection_over_union(boxes[order], truths)
    is_free = np.ones(len(truths), bool)
    is_hit = np.zeros(len(order), bool)
    for row, shares in enumerate(overlap):
        candidates = np.where(is_free & (shares >= HIT_IOU), shares, -1.0)
        if candidates.size and candidates.max() > 0:
            is_hit[row] = True
            is_free[int(candidates.argmax())] = False
    return Matched(scores=scores[order], is_hit=is_hit, truths=len(truths))


def intersection_over_union(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the (N, M) overlaps of boxes (N, 2 * dims) and (M, 2 * dims)."""
    dims = first.shape[1] // 2
    low = np.maximum(first[:, None, :dims], second[None, :, :dims])
    high = np.minimum(first[:, None, dims:], second[None, :, dims:])
    both = np.clip(high - low, 0, None).prod(axis=-1)
    sizes = [np.clip(b[:, dims:] - b[:, :dims], 0, None).prod(axis=-1) for b in (first, second)]
    union = sizes[0][:, None] + sizes[1][None, :] - both
    return np.asarray(both / np.maximum(union, 1e-12))


def average_precision(cases: Sequence[Matched]) -> float | None:
    """Return the area under precision over recall, all points, precision made monotone."""
    truths = sum(case.truths for case in cases)
    if truths == 0:
        return None
    is_hit = _pooled(cases)[1]
    hits = np.cumsum(is_hit)
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[is_hit].sum() / truths)


def froc(cases: Sequence[Matched]) -> dict[str, float] | None:
    """Return the sensitivity at each allowed number of false positives per scan."""
    truths = sum(case.truths for case in cases)
    if truths == 0:
        return None
    _, is_hit = _pooled(cases)
    hits, alarms = np.cumsum(is_hit), np.cumsum(~is_hit)
    reached = {}
    for rate in FALSE_POSITIVE_RATES:
        allowed = alarms <= rate * len(cases)
        reached[f"{rate:g}"] = float(hits[allowed].max() / truths) if allowed.any() else 0.0
    return reached


def _pooled(cases: Sequence[Matched]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return scores and hits of all cases, best first."""
    scores = np.concatenate([case.scores for case in cases])
    order = np.argsort(-scores, kind="stable")
    return scores[order], np.concatenate([case.is_hit for case in cases])[order]
