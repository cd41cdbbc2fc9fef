"""What is told of the epochs of a training."""

from __future__ import annotations

import itertools
import json

from pipeline.training import course
from pipeline.training.checkpoint import Epoch


def history(epochs: int) -> list[Epoch]:
    """Every second epoch was looked at."""
    return [
        Epoch(
            losses={"loss": 1.0 / number, "dice": 0.5 / number},
            score=None if number % 2 else 0.1 * number,
            learning_rate=0.01,
        )
        for number in range(1, epochs + 1)
    ]


def test_a_curve_tells_loss_score_and_rate_of_every_epoch() -> None:
    assert course.curve(history(2)) == [
        {"epoch": 1, "loss": 1.0, "score": None, "learning_rate": 0.01},
        {"epoch": 2, "loss": 0.5, "score": 0.2, "learning_rate": 0.01},
    ]


def test_a_long_curve_is_thinned_evenly_and_ends_with_the_last_epoch() -> None:
    epochs = [point["epoch"] for point in course.curve(history(1050))]
    assert len(epochs) <= course.MOST_POINTS
    assert epochs[-1] == 1050
    assert {after - before for before, after in itertools.pairwise(epochs)} == {11}


def test_nothing_learnt_is_no_curve() -> None:
    assert course.curve([]) == []
    assert course.curves([]) == {}


def test_there_is_a_curve_of_every_loss_and_of_the_looks_that_were_taken() -> None:
    found = course.curves(history(3))
    assert [*found] == ["loss", "dice", "learning rate", "score"]
    assert found["dice"] == [(1, 0.5), (2, 0.25), (3, 0.5 / 3)]
    assert found["score"] == [(2, 0.2)]


def test_the_file_holds_every_epoch() -> None:
    kept = json.loads(course.dump(history(300)))
    assert [Epoch(**epoch) for epoch in kept["epochs"]] == history(300)
