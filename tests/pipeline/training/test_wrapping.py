"""A task around another one passes on all that the inner one adds to the loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.training.task import Turn, turns
from pipeline.training.wrapping import Wrapping, total
from tests.quick_learning import Line


@dataclass
class Contest(Line):
    """Two turns, an epoch to begin and a step to follow."""

    heard: list[str] = field(default_factory=list)

    def turns(self, network: nn.Module) -> Sequence[Turn]:
        whole = [*network.parameters()]
        return [
            Turn(name="bias", parameters=whole[1:], loss=self.loss),
            Turn(name="weight", parameters=whole[:1], loss=self.loss),
        ]

    def begin_epoch(self, network: nn.Module, epoch: int) -> None:
        del network
        self.heard.append(f"epoch {epoch}")

    def after_step(self, network: nn.Module) -> None:
        del network
        self.heard.append("step")


class Twice(Wrapping):
    """Changes the loss and nothing else."""

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        return 2.0 * total(self.inner.loss(network, batch))


def test_the_turns_of_the_inner_task_are_taken() -> None:
    inner = Contest()
    network = inner.network()
    assert [turn.name for turn in turns(Twice(inner=inner), network)] == ["bias", "weight"]


def test_where_there_is_one_turn_the_loss_is_that_of_the_outer_task() -> None:
    task = Twice(inner=Line())
    network = task.network()
    (only,) = turns(task, network)
    batch = next(task.batches(0, 0))
    assert torch.equal(total(only.loss(network, batch)), 2.0 * Line().loss(network, batch))
    assert [*only.parameters] == [*network.parameters()]


def test_starts_of_epochs_and_steps_are_passed_on() -> None:
    inner = Contest()
    task = Wrapping(inner=Wrapping(inner=inner))
    task.begin_epoch(inner.network(), 3)
    task.after_step(inner.network())
    assert inner.heard == ["epoch 3", "step"]
