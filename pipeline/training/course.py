"""The course of a training: what is told of its epochs, as a curve, and as a file of the bundle."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Final

from pipeline.training.checkpoint import Epoch

#: of a curve that goes into every event
MOST_POINTS: Final = 100


def curve(history: Sequence[Epoch]) -> list[dict[str, float | None]]:
    """Return the course so far in at most ``MOST_POINTS`` points, the last epoch among them.

    Each point: ``epoch`` (from 1), ``loss``, ``score`` and ``learning_rate``.
    """
    return [
        {
            "epoch": number,
            "loss": epoch.loss,
            "score": epoch.score,
            "learning_rate": epoch.learning_rate,
        }
        for number, epoch in _thinned(history)
    ]


def curves(history: Sequence[Epoch]) -> dict[str, list[tuple[float, float]]]:
    """Return (epoch, value) of every loss, of the score and of the learning rate, by name."""
    found: dict[str, list[tuple[float, float]]] = {}
    for number, epoch in _thinned(history):
        score = {} if epoch.score is None else {"score": epoch.score}
        for name, value in (epoch.losses | score | {"learning rate": epoch.learning_rate}).items():
            found.setdefault(name, []).append((float(number), value))
    return found


def dump(history: Sequence[Epoch]) -> str:
    """Return every epoch as JSON; the same course gives the same text."""
    epochs = [asdict(epoch) for epoch in history]
    return json.dumps({"epochs": epochs}, indent=1) + "\n"


def _thinned(history: Sequence[Epoch]) -> Iterator[tuple[int, Epoch]]:
    """Yield epochs with their numbers, evenly far apart up to the last."""
    every = max(-(-len(history) // MOST_POINTS), 1)
    for number in reversed(range(len(history), 0, -every)):
        yield number, history[number - 1]
