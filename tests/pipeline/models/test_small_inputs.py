"""Inputs go through a network in few numbers at a time, and each gets the answer it gets alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import Interrupted, OutOfMemory
from pipeline.models import sliding
from pipeline.models.small_inputs import Answer, filled, forward, together
from tests.pipeline.models.tiny import go_on


class Shifted(nn.Module):
    """Adds to the sum of each input what it is given beside it; remembers how many came at once."""

    def __init__(self, most: int = 1000) -> None:
        super().__init__()
        self.seen: list[int] = []
        self._most = most

    def forward(self, inputs: Tensor, shift: Tensor | None = None) -> Tensor:
        self.seen.append(len(inputs))
        if len(inputs) > self._most:
            raise MemoryError
        total = inputs.flatten(1).sum(1, keepdim=True)
        return total if shift is None else total + shift


def run(network: nn.Module, inputs: Tensor, *, batch: int = 32, **stated: Any) -> Answer:
    plan = sliding.Plan(size=(2, 2), overlap=0.0, batch=batch, device=torch.device("cpu"))
    return forward(network, plan, inputs, **{"checkpoint": go_on, **stated})


def rising(count: int, size: int = 2) -> Tensor:
    """Return inputs that hold their number everywhere."""
    return torch.arange(float(count))[:, None, None, None].expand(count, 1, size, size)


@pytest.mark.parametrize("count", [1, 5, 8, 9, 17, 31, 32])
def test_each_input_gets_its_own_answer_whatever_else_is_run(count: int) -> None:
    network = Shifted()
    answer = run(network, rising(count), beside={"shift": torch.arange(float(count))[:, None]})
    assert answer.outputs.flatten().tolist() == [5.0 * n for n in range(count)]
    assert network.seen == [answer.plan.batch]
    assert answer.plan.batch in {1, 5, 8, 16, 24, 32}


def test_more_than_a_batch_are_run_one_batch_after_another() -> None:
    network = Shifted()
    shift = torch.arange(21.0)[:, None]
    answer = run(network, rising(21), batch=10, beside={"shift": shift})
    assert answer.outputs.flatten().tolist() == [5.0 * n for n in range(21)]
    assert network.seen == [10, 10, 1]
    assert answer.plan.batch == 10


def test_a_pass_that_runs_out_of_memory_steps_down_and_says_so() -> None:
    network = Shifted(most=8)
    answer = run(network, rising(20))
    assert answer.outputs.flatten().tolist() == [4.0 * n for n in range(20)]
    assert network.seen == [24, 12, 6, 6, 6, 2]
    assert answer.plan.batch == 6
    assert answer.warnings == (
        "memory ran out with 24 windows at a time on the cpu",
        "memory ran out with 12 windows at a time on the cpu",
    )
    with pytest.raises(OutOfMemory):
        run(Shifted(most=0), rising(1))


def test_it_stops_between_batches() -> None:
    network = Shifted()

    def stop() -> None:
        if network.seen:
            raise Interrupted("canceled")

    with pytest.raises(Interrupted):
        run(network, rising(9), batch=3, checkpoint=stop)
    assert network.seen == [3]


@pytest.mark.parametrize(
    ("count", "size", "run"),
    [
        (1, (1, 32, 32), 1),
        (8, (1, 32, 32), 8),
        (9, (1, 32, 32), 16),
        (17, (1, 64, 64), 24),
        (32, (1, 64, 64), 32),
        (17, (3, 64, 64), 18),
        (17, (3, 224, 224), 17),
        (3, (1, 96, 96, 96), 3),
    ],
)
def test_only_small_inputs_are_run_twice(count: int, size: tuple[int, ...], run: int) -> None:
    assert filled(count, size) == run


def test_a_lone_input_is_run_once_however_small_it_is() -> None:
    assert {filled(1, (1, size, size)) for size in (1, 8, 64, 512)} == {1}


@pytest.mark.parametrize(
    ("size", "count"),
    [((1, 64, 64), 32), ((3, 512, 512), 5), ((1, 96, 96, 96), 4), ((3000,) * 2, 1)],
)
def test_the_larger_the_inputs_the_fewer_share_a_pass(size: tuple[int, ...], count: int) -> None:
    assert together(size) == count
