"""Boxes or objects that were found against those that are true: how they overlap, who hits whom.

The rule is COCO's: detections take their turn from the best score down, and each takes the true
box that it overlaps most among those that are still free and overlap at least as much as is asked.
A detection without one is a false alarm, a second one on a box that is taken too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.scores import Boxes


def compare(
    found: NDArray[np.float64], scores: NDArray[np.float64], truths: NDArray[np.float64]
) -> Boxes:
    """Return what is kept of the boxes of one label in one case.

    Args:
        found: (N, 2 * dims), all lower corners, then all upper ones.
        scores: (N,), 0 to 1.
        truths: (M, 2 * dims).

    """
    return _ranked(scores, intersection_over_union(found, truths))


def compare_objects(
    found: NDArray[np.integer[Any]], scores: NDArray[np.float64], truths: NDArray[np.integer[Any]]
) -> Boxes:
    """Return what is kept of the objects of one label in one case.

    Args:
        found: the number of the object of each voxel, from 1 to N, 0 for none.
        scores: (N,), 0 to 1.
        truths: the same of those that are true, from 1 to M, on the same grid.

    """
    count, true_count = len(scores), int(truths.max(initial=0))
    pairs = truths.astype(np.int64).ravel() * (count + 1) + found.astype(np.int64).ravel()
    both = np.bincount(pairs, minlength=(true_count + 1) * (count + 1))
    both = both.reshape(true_count + 1, count + 1)
    union = both.sum(axis=0) + both.sum(axis=1)[:, None] - both
    return _ranked(scores, (both / np.maximum(union, 1))[1:, 1:].T)


def _ranked(scores: NDArray[np.float64], overlaps: NDArray[np.float64]) -> Boxes:
    """Return what was found, best first, with its overlaps (N, M)."""
    order = np.argsort(-scores, kind="stable")
    overlaps = overlaps[order]
    return Boxes(
        truths=overlaps.shape[1],
        scores=tuple(np.clip(scores[order], 0.0, 1.0).tolist()),
        overlaps=tuple(tuple(row) for row in overlaps.tolist()),
    )


def hits(boxes: Boxes, least: float) -> NDArray[np.bool_]:
    """Return for each detection, best first, whether it hits a box by an IoU of at least this."""
    is_free = np.ones(boxes.truths, bool)
    is_hit = np.zeros(len(boxes.scores), bool)
    for row, shares in enumerate(np.array(of_one, float) for of_one in boxes.overlaps):
        candidates = np.where(is_free & (shares >= least), shares, -1.0)
        if candidates.size and candidates.max() > 0:
            is_hit[row] = True
            is_free[int(candidates.argmax())] = False
    return is_hit


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
