from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from pipeline.networks.attention_gated import AttentionGate, AttentionGatedNet
from tests.pipeline.networks.checks import assert_overfits, assert_same_in_double


def small(spatial_dims: int) -> AttentionGatedNet:
    torch.manual_seed(0)
    return AttentionGatedNet(
        spatial_dims=spatial_dims, in_channels=2, out_channels=3, features=(4, 8, 8)
    )


@pytest.mark.parametrize("size", [(24, 20), (1, 1), (12, 9, 17)])
def test_an_image_of_any_size_gets_its_logits_and_two_maps(size: tuple[int, ...]) -> None:
    network, images = small(len(size)), torch.randn(2, 2, *size)
    logits, maps = network.attend(images)
    assert logits.shape == (2, 3)
    assert torch.equal(network(images), logits)
    halved = [tuple(-(-extent // by) for extent in size) for by in (2, 4)]
    assert [tuple(one.shape) for one in maps] == [(2, *shape) for shape in halved]


def test_one_gate_is_on_the_map_before_the_coarsest() -> None:
    network = AttentionGatedNet(
        spatial_dims=2, in_channels=1, out_channels=3, features=(4, 8, 6), gates=1
    )
    logits, (attention,) = network.attend(torch.randn(2, 1, 16, 16))
    assert logits.shape == (2, 3)
    assert attention.shape == (2, 4, 4)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_attention_is_never_negative_and_sums_to_one_over_each_map(spatial_dims: int) -> None:
    _, maps = small(spatial_dims).attend(torch.randn(3, 2, *(13,) * spatial_dims))
    for attention in maps:
        assert (attention >= 0).all()
        assert attention.std() > 0
        torch.testing.assert_close(attention.flatten(1).sum(1), torch.ones(3))


def test_attention_is_that_of_the_paper() -> None:
    torch.manual_seed(0)
    gate = AttentionGate(2, 3, 5)
    fine, coarse = torch.randn(1, 3, 4, 4), torch.randn(1, 5, 2, 2)
    attended, attention = gate(fine, coarse)
    x = fine[0].double().numpy().reshape(3, 16)
    # each coarse place stands for two by two fine ones
    g = coarse[0].double().numpy().repeat(2, 1).repeat(2, 2).reshape(5, 16)
    w_x, w_g, psi = (
        layer.weight.detach().double().numpy()[:, :, 0, 0]
        for layer in (gate.fine, gate.gating, gate.fit)
    )
    b = gate.gating.bias.detach().double().numpy()[:, None]
    fit = (psi @ np.maximum(w_x @ x + w_g @ g + b, 0))[0]
    expected = (fit - fit.min()) / (fit - fit.min()).sum()
    np.testing.assert_allclose(attention.detach().flatten(), expected, atol=1e-6)
    np.testing.assert_allclose(attended[0].detach(), x @ expected, atol=1e-6)


def test_where_all_places_fit_alike_attention_is_the_same_everywhere() -> None:
    gate = AttentionGate(2, 3, 5)
    features = torch.ones(1, 3, 4, 4)
    attended, attention = gate(features, torch.ones(1, 5, 2, 2))
    torch.testing.assert_close(attention, torch.full((1, 4, 4), 1 / 16))
    torch.testing.assert_close(attended, torch.ones(1, 3))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_one_batch_is_learned_by_heart(spatial_dims: int) -> None:
    network = small(spatial_dims)
    images, classes = torch.randn(6, 2, *(12,) * spatial_dims), torch.arange(6) % 3
    assert_overfits(network, images, classes, functional.cross_entropy, rate=0.03)
    assert torch.equal(network(images).argmax(1), classes)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_float32_answers_as_float64(spatial_dims: int) -> None:
    assert_same_in_double(small(spatial_dims), torch.randn(2, 2, *(17,) * spatial_dims))


@pytest.mark.parametrize("gates", [0, 3])
def test_gates_without_a_map_are_refused(gates: int) -> None:
    with pytest.raises(ValueError, match="gates lies between"):
        AttentionGatedNet(
            spatial_dims=2, in_channels=1, out_channels=2, features=(4, 8, 8), gates=gates
        )


def test_half_precision_attends_over_many_places() -> None:
    torch.manual_seed(0)
    gate = AttentionGate(3, 4, 2)
    fine, coarse = 4 * torch.randn(1, 4, 64, 64, 64), torch.randn(1, 2, 8, 8, 8)
    with torch.no_grad():
        expected, _ = gate(fine, coarse)
        attended, _ = gate.half()(fine.half(), coarse.half())
    torch.testing.assert_close(attended.float(), expected, atol=2e-3, rtol=0)
    assert expected.abs().max() > 0.1
