"""Samples of networks whose mean and spread are known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.asking import MonteCarloDropout, Uncertainty
from pipeline.errors import Interrupted, ModelMismatch
from pipeline.models.averaging import Averaged, views
from pipeline.models.sampling import Dice, Moments, Sampled, thinned
from tests.pipeline.models.tiny import Constant, go_on

DROPOUT = Uncertainty(monte_carlo_dropout=MonteCarloDropout(samples=8, seed=3))


def samples_of(network: nn.Module, asked: Uncertainty, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return Sampled(network.eval(), asked, go_on)(images)


class Thinning(nn.Module):
    """A linear layer behind dropout and batch normalisation."""

    def __init__(self, inputs: int = 400) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(inputs)
        self.dropout = nn.Dropout(0.25)
        self.linear = nn.Linear(inputs, 1, bias=False)

    def forward(self, values: Tensor) -> Tensor:
        answer: Tensor = self.linear(self.dropout(self.norm(values)))
        return answer


def test_dropout_of_a_linear_layer_has_the_mean_and_the_variance_it_must() -> None:
    torch.manual_seed(0)
    network, values = Thinning().eval(), torch.randn(1, 400)
    dice, share = Dice(), 0.25
    copied, count = thinned(network, dice), 2000
    found = []
    with torch.inference_mode():
        for sample in range(count):
            dice.roll(11, sample, torch.device("cpu"))
            found.append(float(copied(values)))
        parts = (network.linear.weight * network.norm(values))[0]
    # sums of w x m / (1 - p) with m of Bernoulli(1 - p)
    variance = float((parts**2).sum()) * share / (1 - share)
    error = math.sqrt(variance / count)
    assert np.mean(found) == pytest.approx(float(parts.sum()), abs=4 * error)
    assert np.var(found, ddof=1) == pytest.approx(variance, rel=4 * math.sqrt(2 / count))


def test_the_network_and_its_statistics_are_left_as_they_were() -> None:
    network = Thinning().eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    plain = network(torch.ones(2, 400))
    samples_of(network, DROPOUT, torch.randn(5, 400))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert isinstance(network.dropout, nn.Dropout)
    assert torch.equal(network(torch.ones(2, 400)), plain)


def test_copies_share_the_weights() -> None:
    network = Thinning()
    copied = thinned(network, Dice())
    ours = {id(one) for one in network.parameters()}
    assert {id(one) for one in copied.parameters()} == ours


def test_a_sample_is_one_network_for_every_image_of_a_batch() -> None:
    network, values = Thinning(), torch.randn(1, 400)
    found = samples_of(network, DROPOUT, values.repeat(3, 1))
    assert found.shape == (3, 8, 1)
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[0], samples_of(network, DROPOUT, values)[0])
    assert len(set(found[0].flatten().tolist())) == 8


def test_the_seed_decides_the_samples() -> None:
    network, values = Thinning(), torch.randn(1, 400)
    other = Uncertainty(monte_carlo_dropout=MonteCarloDropout(samples=8, seed=4))
    first, again = (samples_of(network, DROPOUT, values) for _ in range(2))
    assert torch.equal(first, again)
    shared = set(first.flatten().tolist()) & set(
        samples_of(network, other, values).flatten().tolist()
    )
    assert shared == set()


def test_channels_are_dropped_whole_where_the_layer_drops_them_whole() -> None:
    network = nn.Sequential(nn.Dropout3d(0.5))
    (found,) = samples_of(network, DROPOUT, torch.ones(1, 64, 2, 3, 4))
    by_channel = found.flatten(2)
    assert (by_channel.amin(2) == by_channel.amax(2)).all()
    assert set(by_channel.unique().tolist()) == {0.0, 2.0}


def test_members_views_and_draws_multiply() -> None:
    network = Averaged([Constant(0.0), Constant(1.0)], views((), turns=False), "logits")
    asked = Uncertainty(
        members=True, flips=(0, 1), monte_carlo_dropout=MonteCarloDropout(samples=3)
    )
    sampled = Sampled(network, asked, go_on)
    found = sampled(torch.zeros(1, 1, 2, 2))
    assert sampled.samples == found.shape[1] == 2 * 4 * 3
    assert found[0, :, 0, 0, 0].tolist() == [0.0] * 12 + [1.0] * 12
    together = Sampled(network, Uncertainty(flips=(0,)), go_on)(torch.zeros(1, 1, 2, 2))
    assert together[0, :, 0, 0, 0].tolist() == [0.5, 0.5]


def test_views_are_turned_back() -> None:
    ramp = torch.arange(12.0).view(1, 1, 3, 4)
    found = samples_of(nn.Identity(), Uncertainty(flips=(0, 1)), ramp)
    assert all(torch.equal(one, ramp[0]) for one in found[0])


def test_moments_are_the_mean_and_the_mean_square_of_the_samples() -> None:
    members = [Constant(0.0, 0.0), Constant(0.0, math.log(3))]
    network = Averaged(members, views((), turns=False), "softmax")
    sampled = Sampled(network, Uncertainty(members=True), go_on)
    (found,) = Moments(sampled, 1.0)(torch.zeros(1, 1, 2, 2))
    wanted = [3 / 8, 5 / 8, (1 / 4 + 1 / 16) / 2, (1 / 4 + 9 / 16) / 2]
    np.testing.assert_allclose(found[:, 0, 0], wanted, rtol=1e-6)
    (cooled,) = Moments(sampled, 2.0)(torch.zeros(1, 1, 2, 2))
    half = math.sqrt(3) / (1 + math.sqrt(3))
    assert float(cooled[1, 0, 0]) == pytest.approx((0.5 + half) / 2, rel=1e-6)


def test_a_stop_is_heard_between_samples() -> None:
    heard = []

    def stop() -> None:
        heard.append(1)
        if len(heard) == 3:
            raise Interrupted("stop")

    with pytest.raises(Interrupted):
        Sampled(Thinning().eval(), DROPOUT, stop)(torch.zeros(1, 400))
    assert len(heard) == 3


def test_a_network_without_dropout_is_not_thinned() -> None:
    with pytest.raises(ModelMismatch, match="no dropout"):
        Sampled(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.0)), DROPOUT, go_on)
