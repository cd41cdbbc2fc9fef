"""Anchors from the sizes of boxes: few of them, of which one is nearly right for most boxes.

K-means as in YOLO9000 (Redmon and Farhadi, CVPR 2017), where a box belongs to the anchor that it
overlaps most. Means are of logarithms, and an anchor stands for its doubles too, one for each level
of a pyramid.
"""

from __future__ import annotations

import math
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: float64: sizes (N, axes), or one number for each box (N,)
Sizes: TypeAlias = NDArray[np.float64]
PerBox: TypeAlias = NDArray[np.float64]

#: anchors of a level at most, and the share of the boxes that one of them should fit
_MOST, _ENOUGH = 4, 0.9
_ROUNDS: Final = 20


def fit(sizes: Sizes, weights: PerBox, levels: int) -> list[list[int]]:
    """Return the fewest anchors that fit nine boxes of ten, or those that fit most.

    An anchor fits a box where both lie on one centre and overlap as if each side were off by the
    cube root of two: their intersection over union is 0.63 of two axes, 1/2 of three.

    Args:
        sizes: of boxes, in voxels.
        weights: of each box; their sum is 1.
        levels: of the pyramid; each doubles the anchors of the one before.

    Returns:
        Sizes at the finest level in whole voxels, the smallest first.

    """
    good = 2.0 ** (-sizes.shape[1] / 3)
    tried = [_means(sizes, weights, levels, count) for count in range(1, _MOST + 1)]
    shares = [weights[overlaps(sizes, anchors, levels) >= good].sum() for anchors in tried]
    enough = [place for place, share in enumerate(shares) if share >= _ENOUGH]
    chosen = tried[enough[0] if enough else int(np.argmax(shares))]
    different = np.unique(chosen.astype(int), axis=0).tolist()
    return sorted(different, key=math.prod)


def overlaps(sizes: Sizes, anchors: Sizes, levels: int) -> PerBox:
    """Return of each box the best intersection over union with an anchor on the same centre."""
    best: PerBox = _every(sizes, anchors, levels).max(axis=(1, 2))
    return best


def _means(sizes: Sizes, weights: PerBox, levels: int, count: int) -> Sizes:
    """Return ``count`` anchors, in whole voxels."""
    logs = np.log2(sizes)
    means = logs.mean(axis=1)
    level = np.clip(np.floor(means - means.min()), 0, levels - 1)
    # at first, boxes of about one size at the finest level belong together
    order = np.argsort(means - level, kind="stable")
    rank = np.cumsum(weights[order]) - weights[order] / 2
    group = np.empty(len(sizes), int)
    group[order] = np.clip(rank * count, 0, count - 1).astype(int)
    centres = np.full((count, sizes.shape[1]), logs.mean(axis=0))
    for _ in range(_ROUNDS):
        centres = _centres(logs - level[:, None], weights, group, centres)
        places = _every(sizes, 2.0**centres, levels).reshape(len(sizes), -1).argmax(axis=1)
        group, level = places // levels, places % levels
    return np.maximum(np.rint(2.0**centres), 1.0)


def _centres(folded: Sizes, weights: PerBox, group: NDArray[np.int_], before: Sizes) -> Sizes:
    """Return the mean of each group; of one without boxes where it was before."""
    return np.stack(
        [
            np.average(folded[group == number], axis=0, weights=weights[group == number])
            if (group == number).any()
            else before[number]
            for number in range(len(before))
        ]
    )


def _every(sizes: Sizes, anchors: Sizes, levels: int) -> NDArray[np.float64]:
    """Return intersection over union by box, anchor and level."""
    doubled = anchors[:, None] * 2.0 ** np.arange(levels)[:, None]
    shared = np.minimum(sizes[:, None, None], doubled).prod(axis=-1)
    both = sizes.prod(axis=-1)[:, None, None] + doubled.prod(axis=-1)
    return np.asarray(shared / (both - shared))
