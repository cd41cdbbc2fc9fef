"""What moves the weights, held to answers that can be worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import TrainingRefused
from pipeline.reasons import Reason
from pipeline.training import optimisation as optimising
from pipeline.training.fields import OptimiserField
from pipeline.training.optimisation import Optimisation, Schedule, averaged
from pipeline.training.task import Loss, TakesTurns, Task, Turn, turns
from tests import quick_learning
from tests.quick_learning import Line

PLAIN: dict[str, Any] = {
    "name": "sgd",
    "momentum": 0.0,
    "weight_decay": 0.0,
    "clip": None,
    "schedule": "constant",
    "learning_rate": 0.125,
}


class Weight(nn.Module):
    """One weight of shape (1, 1) that answers w x, and a count that is no weight."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[start]]))
        self.register_buffer("count", torch.tensor(7))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs @ self.weight


def squared(network: nn.Module, batch: Tensor) -> Tensor:
    """d/dw of mean (w x)^2 / 2 is w mean x^2."""
    return (network(batch) ** 2).mean() / 2


def optimisation(
    network: nn.Module, wanted: dict[str, Any], learning: Sequence[Turn] | None = None
) -> Optimisation:
    one = [Turn(parameters=[*network.parameters()], loss=squared)]
    return Optimisation(network, learning or one, OptimiserField(**PLAIN | wanted), epochs=10)


def moved(wanted: dict[str, Any], start: float = 1.0) -> float:
    """Return where the weight is after one batch of x = 2."""
    network = Weight(start)
    optimisation(network, wanted).learn(torch.tensor([[2.0]]), 0, 1)
    return float(network.weight.detach())


def test_sgd_goes_down_the_gradient() -> None:
    assert moved({}) == 1.0 - 0.125 * 4.0


def test_weight_decay_is_an_l2_penalty_of_sgd() -> None:
    assert moved({"weight_decay": 0.5}) == 1.0 - 0.125 * (4.0 + 0.5)


@pytest.mark.parametrize("start", [1.0, -1.0])
def test_an_l1_penalty_pulls_every_weight_to_zero_by_the_same_amount(start: float) -> None:
    assert moved({"l1": 0.5}, start) == start * (1.0 - 0.125 * (4.0 + 0.5))


def test_the_penalty_is_reported_beside_the_loss() -> None:
    losses = optimisation(Weight(3.0), {"l1": 0.5}).learn(torch.tensor([[2.0]]), 0, 1).losses
    assert losses == {"loss": 18.0 + 1.5, "l1-penalty": 1.5}


def test_gradients_are_clipped_to_their_norm() -> None:
    assert moved({"clip": 1.0}) == pytest.approx(1.0 - 0.125, abs=1e-6)
    assert moved({"clip": 5.0}) == pytest.approx(1.0 - 0.125 * 4.0, abs=1e-6)


def test_momentum_is_nesterovs() -> None:
    network = Weight(1.0)
    learning = optimisation(network, {"momentum": 0.5})
    learning.learn(torch.tensor([[2.0]]), 0, 1)
    assert float(network.weight.detach()) == 1.0 - 0.125 * (4.0 + 0.5 * 4.0)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_the_first_step_of_adam_has_the_length_of_the_rate(name: str) -> None:
    assert moved({"name": name}) == pytest.approx(1.0 - 0.125, abs=1e-6)


def test_adamw_decays_weights_beside_the_gradient_and_adam_within_it() -> None:
    decay = {"weight_decay": 0.5}
    assert moved(decay | {"name": "adamw"}) == pytest.approx(1.0 - 0.125 * (1 + 0.5), abs=1e-6)
    assert moved(decay | {"name": "adam"}) == pytest.approx(1.0 - 0.125, abs=1e-6)


def test_accumulated_batches_move_the_weights_as_one_large_batch_does() -> None:
    batch = torch.tensor([[1.0], [2.0], [3.0], [5.0]])
    large, small = Weight(1.0), Weight(1.0)
    optimisation(large, {}).learn(batch, 0, 1)
    learning = optimisation(small, {"accumulate": 4})
    for step, case in enumerate(batch):
        assert float(small.weight.detach()) == 1.0
        assert learning.learn(case[None], step, 4).has_moved == (step == 3)
    assert torch.equal(small.weight, large.weight)


def test_what_is_left_at_the_end_of_an_epoch_is_a_step_of_its_own() -> None:
    network = Weight(1.0)
    learning = optimisation(network, {"accumulate": 2})
    assert learning.learn(torch.tensor([[2.0]]), 2, 3) == ({"loss": 2.0}, 1, True)
    assert float(network.weight.detach()) == 1.0 - 0.125 * 4.0


def test_a_loss_that_is_no_number_moves_nothing() -> None:
    network = Weight(1.0)
    with pytest.raises(TrainingRefused) as refused:
        optimisation(network, {}).learn(torch.tensor([[math.inf]]), 0, 1)
    assert refused.value.reason is Reason.TRAINING_DIVERGED
    assert float(network.weight.detach()) == 1.0


@pytest.mark.parametrize(("is_fast", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_mixed_precision_answers_in_what_the_processor_is_fast_with_and_moves_full_weights(
    monkeypatch: pytest.MonkeyPatch, *, is_fast: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(optimising, "has_amx", lambda: is_fast)
    seen: list[torch.dtype] = []

    def watched(network: nn.Module, batch: Tensor) -> Tensor:
        answer = network(batch)
        seen.append(answer.dtype)
        return (answer.float() ** 2).mean() / 2

    network = Weight(1.0)
    one = [Turn(parameters=[*network.parameters()], loss=watched)]
    optimisation(network, {"amp": True}, one).learn(torch.tensor([[2.0]]), 0, 1)
    assert seen == [expected]
    assert network.weight.dtype == torch.float32
    assert float(network.weight.detach()) == 0.5  # all numbers here are exact in bfloat16


@pytest.mark.parametrize("is_mixed", [True, False])
def test_only_weights_of_two_axes_lie_channels_last_and_only_in_mixed_precision(
    monkeypatch: pytest.MonkeyPatch, *, is_mixed: bool
) -> None:
    monkeypatch.setattr(optimising, "has_amx", lambda: True)
    flat, deep = nn.Conv2d(4, 8, 3), nn.Conv3d(4, 8, 3)
    before = flat.weight.detach().clone()
    optimisation(nn.ModuleList([flat, deep]), {"amp": is_mixed})
    assert flat.weight.is_contiguous(memory_format=torch.channels_last) is is_mixed
    assert deep.weight.is_contiguous()
    assert torch.equal(flat.weight, before)


def test_the_average_follows_the_weights_and_forgets_its_beginnings() -> None:
    network = Weight(0.0)
    average = averaged(network, 0.9)
    expected = 0.0
    for number in range(6):
        with torch.no_grad():
            network.weight.fill_(float(number))
        average.update_parameters(network)
        decay = min(0.9, (1 + number) / (10 + number))
        expected = decay * expected + (1.0 - decay) * number if number else 0.0
    assert float(average.module.weight.detach()) == pytest.approx(expected, abs=1e-5)


def test_what_is_no_weight_is_copied_into_the_average_not_averaged() -> None:
    network = Weight(0.0)
    average = averaged(network, 0.999)
    for number in range(20):
        network.count.fill_(number)
        average.update_parameters(network)
        assert int(average.module.count) == number


def test_the_average_answers_where_one_is_asked_for() -> None:
    network = Weight(1.0)
    assert optimisation(network, {}).answering is network
    learning = optimisation(network, {"ema": 0.5})
    for step in range(3):
        learning.learn(torch.tensor([[2.0]]), step, 3)
    # the weight halves with each step; the average forgets at 0.5, first copies, then 2/11, 3/12
    first = 0.5
    second = 2 / 11 * first + 9 / 11 * 0.25
    third = 3 / 12 * second + 9 / 12 * 0.125
    assert float(learning.answering.weight.detach()) == pytest.approx(third, abs=1e-6)


def rates(wanted: dict[str, Any], epochs: int, scores: Sequence[float | None] = ()) -> list[float]:
    """Return the rate of each epoch, in shares of the one that is stated."""
    field = OptimiserField(**PLAIN | wanted)
    sgd = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=field.learning_rate)
    schedule = Schedule(sgd, field, epochs)
    found = []
    for epoch in range(epochs):
        found.append(float(sgd.param_groups[0]["lr"]) / field.learning_rate)
        sgd.step()
        schedule.step(scores[epoch] if scores else None)
    return found


def test_a_constant_rate_stays() -> None:
    assert rates({}, 4) == [1.0] * 4


def test_a_cosine_ends_at_a_hundredth() -> None:
    found = rates({"schedule": "cosine"}, 9)
    whole = [0.01 + 0.99 * (1 + math.cos(math.pi * epoch / 9)) / 2 for epoch in range(9)]
    assert found == pytest.approx(whole)


def test_steps_drop_the_rate_every_so_many_epochs() -> None:
    found = rates({"schedule": "step", "drop": {"factor": 0.5, "epochs": 2}}, 6)
    assert found == pytest.approx([1, 1, 0.5, 0.5, 0.25, 0.25])


def test_a_plateau_drops_the_rate_after_looks_without_a_better_score() -> None:
    wanted = {"schedule": "plateau", "drop": {"factor": 0.5, "epochs": 2}}
    scores = [-3.0, -2.0, -2.0, None, -2.5, -1.0, -1.0, -1.0]
    # two looks without a better one end with the fifth epoch, and two more with the eighth
    assert rates(wanted, 8, scores) == pytest.approx([1, 1, 1, 1, 1, 0.5, 0.5, 0.5])
    assert rates(wanted, 9, [*scores, -1.0])[-1] == pytest.approx(0.25)


def test_a_plateau_without_a_validation_part_never_drops() -> None:
    assert rates({"schedule": "plateau"}, 40, [None] * 40) == [1.0] * 40


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step", "plateau"])
def test_a_warm_up_climbs_to_the_rate_and_then_the_schedule_begins(schedule: str) -> None:
    wanted: dict[str, Any] = {"schedule": schedule}
    if schedule in ("step", "plateau"):
        wanted |= {"drop": {"factor": 0.5, "epochs": 2}}
    scores = [0.0] * 10
    found = rates(wanted | {"warm_up": 3}, 10, scores)
    assert found[:3] == pytest.approx([0.25, 0.5, 0.75])
    assert found[3:] == pytest.approx(rates(wanted, 7, scores[3:]))


class Pair(nn.Module):
    """Two weights that pull at each other."""

    def __init__(self) -> None:
        super().__init__()
        self.maker, self.critic = Weight(1.0), Weight(2.0)


class Contest(Line):
    """A task in two turns: the maker learns from maker x critic, then the critic from the same."""

    def turns(self, network: nn.Module) -> Sequence[Turn]:
        assert isinstance(network, Pair)

        def product(pair: nn.Module, batch: Tensor) -> Loss:
            assert isinstance(pair, Pair)
            return {"pull": pair.critic(pair.maker(batch)).mean(), "rest": batch.mean() * 0.0}

        return [
            Turn(parameters=[*network.maker.parameters()], loss=product),
            Turn(name="critic", parameters=[*network.critic.parameters()], loss=product),
        ]


def test_in_each_turn_only_its_own_parameters_learn_and_see_what_the_turn_before_left() -> None:
    network, task = Pair(), Contest()
    assert isinstance(task, TakesTurns)
    assert not isinstance(Line(), TakesTurns)
    learning = optimisation(network, {}, turns(task, network))
    losses = learning.learn(torch.tensor([[1.0]]), 0, 1).losses
    assert float(network.maker.weight.detach()) == 1.0 - 0.125 * 2.0
    assert float(network.critic.weight.detach()) == 2.0 - 0.125 * 0.75
    assert losses == {
        "loss": 2.0,
        "pull": 2.0,
        "rest": 0.0,
        "critic": 1.5,
        "critic pull": 1.5,
        "critic rest": 0.0,
    }
    assert next(iter(losses)) == "loss"


def test_gradients_of_two_turns_stay_apart_while_they_add_up() -> None:
    network = Pair()
    learning = optimisation(network, {"accumulate": 2}, turns(Contest(), network))
    for step in range(2):
        learning.learn(torch.tensor([[1.0]]), step, 2)
    assert float(network.maker.weight.detach()) == 1.0 - 0.125 * 2.0
    # its gradient of the first batch is of the maker as it was, of the second as it is
    assert float(network.critic.weight.detach()) == 2.0 - 0.125 * (1.0 + 0.75) / 2


def test_frozen_parameters_stay_where_they_are() -> None:
    network = nn.Sequential(Weight(1.0), Weight(1.0))
    network[0].requires_grad_(requires_grad=False)
    optimisation(network, {"l1": 0.5, "weight_decay": 0.5}).learn(torch.tensor([[2.0]]), 0, 1)
    assert float(network[0].weight) == 1.0
    assert float(network[1].weight.detach()) < 1.0


def test_a_task_without_turns_learns_as_a_whole() -> None:
    task: Task = Line()
    network = task.network()
    (only,) = turns(task, network)
    assert [*only.parameters] == [*network.parameters()]


def test_a_drop_without_a_schedule_that_drops_is_a_mistake() -> None:
    with pytest.raises(TrainingRefused, match="drop belongs to"):
        quick_learning.recipe_of({"schedule": "cosine", "drop": {"factor": 0.5}})


def test_older_recipes_keep_their_form() -> None:
    stated = quick_learning.recipe_of({}).stated()["optimiser"]
    assert [*stated] == ["name", "learning_rate", "weight_decay", "schedule", "clip"]
