"""Rare classes that count as much as frequent ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.training.data import Draw


def truths(targets: Sequence[NDArray[np.generic]], classes: int) -> NDArray[np.float64]:
    """Return which classes are true of each case, (cases, classes), 0 or 1.

    Args:
        targets: of each case the number of its class, or a number from 0 to 1 for each class.
        classes: how many there are.

    """
    stacked = np.stack(targets)
    if stacked.ndim == 1:
        return np.asarray(np.eye(classes)[stacked.astype(int)])
    return stacked.astype(float)


def class_weights(truths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a weight for each class, (classes,): 1 where all are equally frequent."""
    counts = np.maximum(truths.sum(axis=0), 1.0)
    return np.asarray(len(truths) / (truths.shape[1] * counts))


def odds_against(truths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how many cases are without each class for one with it, (classes,)."""
    counts = truths.sum(axis=0)
    return np.asarray((len(truths) - counts).clip(1.0) / counts.clip(1.0))


def sampled(
    drawn: Sequence[Draw], truths: NDArray[np.float64], seed: tuple[int, int]
) -> list[Draw]:
    """Draw as many cases, with replacement, so that every class comes up equally often.

    Args:
        drawn: the draws of an epoch; what decides how a case is changed is kept.
        truths: one class for each case, (cases, classes).
        seed: of the training, and the number of the epoch.

    """
    chances = (truths @ class_weights(truths)) / len(truths)
    random = np.random.default_rng((*seed, 3))
    chosen = random.choice(len(truths), size=len(drawn), p=chances / chances.sum())
    return [Draw(int(case), draw.random) for case, draw in zip(chosen, drawn, strict=True)]
