from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.networks.attention_mil import AttentionMIL, AttentionPooling
from pipeline.networks.frames import mask_of
from tests.pipeline.networks.checks import assert_overfits, assert_same_in_double

SIZES = torch.tensor([3, 6, 1, 4])


def small(*, gated: bool, out_channels: int = 3) -> AttentionMIL:
    return AttentionMIL(
        spatial_dims=3,
        in_channels=2,
        out_channels=out_channels,
        features=(4, 8),
        hidden=6,
        gated=gated,
    )


@pytest.fixture(params=[False, True], ids=["plain", "gated"])
def network(request: pytest.FixtureRequest) -> AttentionMIL:
    torch.manual_seed(0)
    return small(gated=request.param)


@pytest.fixture
def bags() -> Tensor:
    """Four bags of up to six instances: (4, 6, 2, 9, 8)."""
    return torch.randn(4, 6, 2, 9, 8, generator=torch.Generator().manual_seed(2))


def test_a_bag_gets_its_logits_and_every_instance_its_attention(
    network: AttentionMIL, bags: Tensor
) -> None:
    logits, attention = network.attend(bags)
    assert logits.shape == (4, 3)
    assert attention.shape == (4, 6)
    assert torch.equal(network(bags.transpose(1, 2)), logits)


@pytest.mark.parametrize("gated", [False, True])
def test_attention_is_that_of_the_paper(*, gated: bool) -> None:
    torch.manual_seed(0)
    pooling = AttentionPooling(5, 4, gated=gated)
    vectors, mask = torch.randn(2, 3, 5), torch.tensor([[True, True, False], [True] * 3])
    pooled, attention = pooling(vectors, mask)
    h = vectors.double().numpy()
    v, w = (layer.weight.detach().double().numpy() for layer in (pooling.value, pooling.weight))
    for bag, size in enumerate((2, 3)):
        scores = np.tanh(h[bag, :size] @ v.T)
        if pooling.gate is not None:
            u = pooling.gate.weight.detach().double().numpy()
            scores = scores / (1 + np.exp(-h[bag, :size] @ u.T))
        powers = np.exp(scores @ w[0])
        expected = powers / powers.sum()
        np.testing.assert_allclose(attention[bag, :size].detach(), expected, rtol=1e-5)
        np.testing.assert_allclose(pooled[bag].detach(), expected @ h[bag, :size], atol=1e-6)


def test_attention_sums_to_one_over_what_is_there_and_is_nothing_elsewhere(
    network: AttentionMIL, bags: Tensor
) -> None:
    mask = mask_of(SIZES, 6)
    _, attention = network.attend(bags, mask)
    assert torch.equal(attention > 0, mask)
    torch.testing.assert_close(attention.sum(1), torch.ones(4))
    assert attention[1].std() > 0


@pytest.mark.parametrize("padding", [0.0, 1e30, torch.nan])
def test_what_padding_holds_changes_not_one_bit(
    network: AttentionMIL, bags: Tensor, padding: float
) -> None:
    mask = mask_of(SIZES, 6)
    padded = torch.where(mask[:, :, None, None, None], bags, padding)
    for found, expected in zip(
        network.attend(padded, mask), network.attend(bags, mask), strict=True
    ):
        assert torch.equal(found, expected)


def test_bags_padded_to_the_largest_get_what_they_get_alone(
    network: AttentionMIL, bags: Tensor
) -> None:
    together, shares = network.attend(bags, mask_of(SIZES, 6))
    for row, size in enumerate(SIZES):
        alone, attention = network.attend(bags[row : row + 1, :size])
        torch.testing.assert_close(together[row], alone[0], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(shares[row, :size], attention[0], atol=1e-6, rtol=1e-5)


def test_the_order_of_instances_does_not_matter(network: AttentionMIL, bags: Tensor) -> None:
    order = [3, 0, 5, 1, 4, 2]
    logits, attention = network.attend(bags)
    turned, shares = network.attend(bags[:, order])
    torch.testing.assert_close(turned, logits, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(shares, attention[:, order], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("gated", [False, True])
def test_one_batch_is_learned_by_heart_and_attention_finds_what_decides(*, gated: bool) -> None:
    """Four bags hold an instance that two do not; all else is the same in every bag."""
    torch.manual_seed(1)
    network = small(gated=gated, out_channels=2)
    bags = torch.randn(1, 6, 2, 8, 8).repeat(6, 1, 1, 1, 1)
    classes, places = torch.tensor([1, 1, 1, 1, 0, 0]), torch.tensor([0, 5, 2, 3])
    bags[torch.arange(4), places] = torch.randn(2, 8, 8)
    assert_overfits(network, bags.transpose(1, 2), classes, functional.cross_entropy, rate=0.03)
    logits, attention = network.attend(bags)
    assert torch.equal(logits.argmax(1), classes)
    assert (attention[torch.arange(4), places] > 0.75).all()


def test_float32_answers_as_float64(network: AttentionMIL, bags: Tensor) -> None:
    assert_same_in_double(network, (bags.transpose(1, 2), mask_of(SIZES, 6)))


def test_an_empty_bag_is_refused(network: AttentionMIL, bags: Tensor) -> None:
    with pytest.raises(ValueError, match="no frame at all"):
        network.attend(bags, mask_of(torch.tensor([3, 0, 1, 2]), 6))
