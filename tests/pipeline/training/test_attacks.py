"""Attacks: on a linear loss the worst change within a bound is known in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.training import attacks
from pipeline.training.fields import AttackField

FGSM = AttackField(method="fgsm")
PGD = AttackField(method="pgd", steps=10)


def images(seed: int = 0) -> torch.Tensor:
    return torch.rand(4, 1, 5, 5, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("attack", [FGSM, PGD], ids=["fgsm", "pgd"])
def test_nothing_changes_within_a_bound_of_nothing(attack: AttackField) -> None:
    seen = images()
    assert attacks.attacked(seen, torch.sum, attack, 0.0) is seen


@pytest.mark.parametrize("attack", [FGSM, PGD], ids=["fgsm", "pgd"])
def test_a_linear_loss_rises_by_the_bound_times_the_size_of_its_weights(
    attack: AttackField,
) -> None:
    seen = images() * 0.5 + 0.25  # so far from 0 and 1 that neither is reached
    weights = torch.randn(5, 5, generator=torch.Generator().manual_seed(1))

    def loss(given: torch.Tensor) -> torch.Tensor:
        return (given * weights).sum()

    moved = attacks.attacked(seen, loss, attack, 0.1)
    assert torch.allclose(moved, seen + 0.1 * weights.sign(), atol=1e-6)
    assert torch.allclose(loss(moved) - loss(seen), 4 * 0.1 * weights.abs().sum(), rtol=1e-4)


@pytest.mark.parametrize("attack", [FGSM, PGD], ids=["fgsm", "pgd"])
def test_what_comes_out_is_an_image_within_the_bound(attack: AttackField) -> None:
    seen = images()
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 2))
    truth = torch.tensor([0, 1, 0, 1])

    def loss(given: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(network(given), truth)

    moved = attacks.attacked(seen, loss, attack, 0.3)
    assert float((moved - seen).abs().max()) <= 0.3 + 1e-6
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 1
    assert bool(loss(moved) > loss(seen))
    assert all(one.grad is None for one in network.parameters())


def test_values_beyond_an_image_do_not_move_farther_than_the_bound() -> None:
    seen = torch.tensor([-0.5, 1.5])
    moved = attacks.attacked(seen, torch.sum, FGSM, 0.1)
    assert torch.allclose((moved - seen).abs(), torch.tensor([0.1, 0.1]))


def test_the_same_generator_begins_at_the_same_place() -> None:
    one, same, other = (
        attacks.attacked(
            images(),
            lambda given: given.square().sum(),
            AttackField(steps=1),
            0.2,
            torch.Generator().manual_seed(seed),
        )
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_an_attacked_network_is_as_in_use_and_then_as_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout())
    network[1].eval()  # one that was frozen stays so
    with attacks.as_in_use(network):
        assert not any(module.training for module in network.modules())
        network(images())
    assert network.training
    assert network[2].training
    assert not network[1].training
    assert int(network[1].num_batches_tracked) == 0


def test_what_goes_through_a_sequence_stays_in_training_where_gradients_are_asked_of_it() -> None:
    network = nn.Sequential(nn.LSTM(3, 2), nn.Dropout()).eval()
    with attacks.as_in_use(network):
        assert network[0].training
        assert not network[1].training
    assert not any(module.training for module in network.modules())
