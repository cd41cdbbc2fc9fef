"""A budget ends a training with its best weights so far, and restarts do not refill it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import Interrupted, TrainingRefused
from pipeline.training import loop, recipe
from pipeline.training.controls import Controls, EpochReport
from tests import quick_training

STEPS = 5


@dataclass
class Line:
    """One weight learns to be 3; the score is how near it is."""

    #: that each step takes, and each look at the score
    hours: float = 1.0
    #: that it took so far
    seconds: float = 0.0

    def network(self) -> nn.Module:
        network = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(network.weight)
        return network

    def steps(self, epoch: int) -> int:
        del epoch
        return STEPS

    def batches(self, epoch: int, first: int) -> Iterator[Tensor]:
        del epoch
        yield from [torch.ones(1, 1)] * (STEPS - first)

    def loss(self, network: nn.Module, batch: Tensor) -> Tensor:
        self.seconds += self.hours * 3600
        loss: Tensor = (network(batch) - 3.0).square().mean()
        return loss

    def score(self, network: nn.Module) -> float:
        return -float(self.loss(network, torch.ones(1, 1)))


def budget(hours: float | None) -> recipe.Recipe:
    asked: dict[str, Any] = {} if hours is None else {"budget": {"hours": hours}}
    return recipe.check(quick_training.CLASSIFICATION | {"epochs": 100} | asked)


def controls(folder: Path, line: Line, *, stop_after: int = 10**6) -> Controls:
    asked = count(1)
    return Controls(
        checkpoint=folder / "checkpoint",
        device=torch.device("cpu"),
        is_stopping=lambda: next(asked) >= stop_after,
        on_epoch=[].append,
        clock=lambda: line.seconds,
    )


def test_the_epoch_in_which_the_budget_ends_is_cut_short_and_judged(tmp_path: Path) -> None:
    line = Line()
    _, done = loop.train(line, budget(7), "d", controls(tmp_path, line))
    assert done.is_stopped
    assert (done.epoch, done.best_epoch) == (2, 2)
    assert done.seconds == line.seconds == 8 * 3600  # the look after it counts too
    assert done.best_score == pytest.approx(max(each.score for each in done.history))


def test_a_budget_shorter_than_an_epoch_still_leaves_weights(tmp_path: Path) -> None:
    line = Line(hours=2.0)
    weights, done = loop.train(line, budget(1), "d", controls(tmp_path, line))
    assert (done.epoch, done.best_epoch) == (1, 1)
    assert float(weights["weight"]) != 0.0


@pytest.mark.parametrize("steps", [1, 3, STEPS, STEPS + 1, 2 * STEPS])
def test_what_was_spent_before_a_restart_counts(tmp_path: Path, steps: int) -> None:
    before, after = Line(), Line()
    with pytest.raises(Interrupted):
        loop.train(before, budget(12), "d", controls(tmp_path, before, stop_after=steps))
    _, done = loop.train(after, budget(12), "d", controls(tmp_path, after))
    assert done.seconds == before.seconds + after.seconds == 14 * 3600
    assert done.epoch == 3


def test_a_look_counts_in_a_training_that_is_killed_after_it(tmp_path: Path) -> None:
    def killed(report: EpochReport) -> None:
        raise KeyboardInterrupt(report.epoch)

    before, after = Line(), Line()
    ending = replace(controls(tmp_path, before), on_epoch=killed)
    with pytest.raises(KeyboardInterrupt):
        loop.train(before, budget(12), "d", ending)
    _, done = loop.train(after, budget(12), "d", controls(tmp_path, after))
    assert done.seconds == before.seconds + after.seconds


def test_without_a_budget_time_ends_nothing_and_changes_no_weights(tmp_path: Path) -> None:
    for name in ("fast", "slow"):
        (tmp_path / name).mkdir()
    short, quick, long = of_epochs(3), Line(hours=0.0), Line(hours=50.0)
    fast, _ = loop.train(quick, short, "d", controls(tmp_path / "fast", quick))
    slow, done = loop.train(long, short, "d", controls(tmp_path / "slow", long))
    assert torch.equal(fast["weight"], slow["weight"])
    assert (done.epoch, done.is_stopped) == (3, False)


def of_epochs(epochs: int) -> recipe.Recipe:
    return recipe.check(quick_training.CLASSIFICATION | {"epochs": epochs})


def test_a_budget_is_stated_only_where_it_is_asked_for() -> None:
    assert "budget" not in budget(None).stated()
    assert budget(2).stated()["budget"] == {"hours": 2.0}


@pytest.mark.parametrize("hours", [0, -1, "long", 10**6])
def test_a_budget_is_a_number_of_hours(hours: object) -> None:
    with pytest.raises(TrainingRefused, match="budget"):
        recipe.check(quick_training.CLASSIFICATION | {"budget": {"hours": hours}})
