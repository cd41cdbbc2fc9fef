"""What an automatic recipe of a classification decides, from what its cases look like.

Images keep their size up to a limit; the network is as wide as the time allows for as many steps as
learning takes. Everything is counted, nothing is timed: the same cases and the same budget give the
same recipe on every machine with as many cores.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pipeline.training import planning_costs
from pipeline.training.planning_costs import Budget
from pipeline.training.planning_segmentation import Seen

#: longest sides that are tried, the finest first, by axes, and feature maps of the first level
_SIDES: Final[Mapping[int, Sequence[int]]] = {2: (128, 96, 64, 48), 3: (64, 48, 32, 24)}
_WIDTHS: Final = (32, 24, 16)
#: images up to this side are not made coarser by the first layer
_FINE: Final[Mapping[int, int]] = {2: 48, 3: 24}
_LEAST_SIDE: Final = 16
#: steps that learning takes, and by how little it may have to do with less
_STEPS, _ENOUGH = 4_000, 0.6
_FEWEST_EPOCHS, _MOST_EPOCHS = 10, 200
_BATCHES: Final = (32, 16, 8, 4, 2)
#: a batch is at most this share of an epoch, so that an epoch has steps to speak of
_MOST_OF_AN_EPOCH: Final = 1 / 20
#: feature maps that learning keeps for each that the first level has, with their gradients
_KEPT: Final = 24
#: classes whose numbers differ by more than this factor are balanced
_UNEVEN: Final = 4.0


@dataclass(frozen=True, kw_only=True)
class _Choice:
    size: tuple[int, ...]
    width: int
    batch: int
    epochs: int
    #: whether the time is enough for about as many steps as learning takes
    leaves_time: bool


def plan(
    seen: Seen, cases: int, counts: Sequence[int], budget: Budget, *, several: bool
) -> dict[str, Any]:
    """Return the fields of a recipe that follow from what is seen.

    Args:
        seen: images of the training part.
        cases: how many there are in the training part, at least one.
        counts: how many of them have each class.
        budget: what the training may use.
        several: whether any number of classes may be true of one case.

    """
    chosen = _chosen(seen, cases, budget)
    is_uneven = max(counts) > _UNEVEN * max(min(counts), 1)
    return {
        "network": _network(seen, chosen.size, chosen.width),
        "input": {"size": [*chosen.size]},
        "loss": "binary-cross-entropy" if several else "cross-entropy",
        "classes": {"smoothing": 0.05, "balance": "weights" if is_uneven else "none"},
        "optimiser": {
            "name": "adamw",
            "learning_rate": 0.003,
            "weight_decay": 0.05,
            "warm_up": max(chosen.epochs // 20, 1),
            "ema": 0.99,
        },
        "epochs": chosen.epochs,
        "batch": chosen.batch,
        # no mirror images: left and right are not the same
        "augmentation": {
            "rotate": 10,
            "translate": 0.08,
            "zoom": 0.1,
            "scale": 0.15,
            "shift": 0.1,
        },
        "validate_every": max(chosen.epochs // 20, 1),
        **({"options": {"activation": "sigmoid"}} if several else {}),
    }


def _chosen(seen: Seen, cases: int, budget: Budget) -> _Choice:
    """Return the finest and widest choice that leaves time to learn, or else the cheapest."""
    every = itertools.product(_sizes(seen), _WIDTHS)
    size, width = next(every)
    chosen = _choice(seen, cases, size, width, budget)
    while not chosen.leaves_time and (cheaper := next(every, None)):
        chosen = _choice(seen, cases, *cheaper, budget)
    return chosen


def _choice(seen: Seen, cases: int, size: tuple[int, ...], width: int, budget: Budget) -> _Choice:
    """Return batch and epochs for one size and width."""
    kept = _KEPT * 4 * width * math.prod(size)
    most = min(budget.memory // kept, max(int(cases * _MOST_OF_AN_EPOCH), 2))
    batch = next((one for one in _BATCHES if one <= most), _BATCHES[-1])
    wanted = min(max(_STEPS * batch // cases, _FEWEST_EPOCHS), _MOST_EPOCHS)
    cost = planning_costs.of(_network(seen, size, width), size)
    possible = int(budget.operations / (cost.operations * cases))
    return _Choice(
        size=size,
        width=width,
        batch=batch,
        epochs=max(min(wanted, possible), _FEWEST_EPOCHS),
        leaves_time=possible >= _ENOUGH * wanted,
    )


def _sizes(seen: Seen) -> Iterator[tuple[int, ...]]:
    """Yield sizes of the network's input, the finest first; none is finer than the images."""
    median = np.median(np.asarray(seen.shapes, float), axis=0)
    known = set()
    for longest in _SIDES[len(median)]:
        share = min(longest / median.max(), 1.0)
        size = tuple(max(round(float(side) * share / 4) * 4, _LEAST_SIDE) for side in median)
        if size not in known:
            known.add(size)
            yield size


def _network(seen: Seen, size: Sequence[int], width: int) -> dict[str, Any]:
    is_fine = max(size) <= _FINE[len(size)]
    return {
        "name": "ResNet",
        "arguments": {
            "spatial_dims": len(size),
            "n_input_channels": seen.channels,
            "num_classes": len(seen.names),
            "block": "basic",
            "layers": [1, 1, 1, 1],
            "block_inplanes": [width * 2**level for level in range(4)],
            "conv1_t_size": 3,
            "conv1_t_stride": 1 if is_fine else 2,
            "no_max_pool": True,
        },
    }
