from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from monai.networks.blocks.squeeze_and_excitation import ChannelSELayer
from torch.nn import functional

from pipeline.networks.se_unet import Excitation, SEUNet, SqueezeExcitation
from tests.pipeline.networks.checks import assert_overfits, assert_same_in_double

EXCITATIONS: list[Excitation] = ["channel", "spatial", "both"]


def small(spatial_dims: int, excitation: Excitation = "both", **changes: Any) -> SEUNet:
    torch.manual_seed(0)
    stated: dict[str, Any] = {"features": (4, 8), "reduction": 2}
    return SEUNet(
        spatial_dims=spatial_dims,
        in_channels=2,
        out_channels=3,
        excitation=excitation,
        **{**stated, **changes},
    )


@pytest.mark.parametrize("excitation", EXCITATIONS)
@pytest.mark.parametrize("size", [(16, 16), (1, 7), (8, 12, 5)])
def test_logits_have_the_size_of_the_image(size: tuple[int, ...], excitation: Excitation) -> None:
    network = small(len(size), excitation, features=(4, 8, 8))
    assert network(torch.randn(2, 2, *size)).shape == (2, 3, *size)


def test_excitation_is_that_of_the_papers_worked_by_hand() -> None:
    torch.manual_seed(0)
    layer = SqueezeExcitation(2, 4, reduction=2, excitation="both")
    features = torch.randn(1, 4, 3, 5)
    x = features[0].double().numpy()
    weights = [value.double().numpy() for value in layer.state_dict().values()]
    narrow, narrow_bias, wide, wide_bias, place, place_bias = weights
    squeezed = np.maximum(narrow @ x.mean((1, 2)) + narrow_bias, 0)
    by_channel = 1 / (1 + np.exp(-(wide @ squeezed + wide_bias)))
    by_place = 1 / (1 + np.exp(-(np.einsum("c,chw->hw", place[0, :, 0, 0], x) + place_bias)))
    expected = x * by_channel[:, None, None] + x * by_place
    np.testing.assert_allclose(layer(features)[0].detach(), expected, atol=1e-6)


def test_excitation_by_channel_is_monais() -> None:
    torch.manual_seed(0)
    ours = SqueezeExcitation(3, 8, reduction=4, excitation="channel")
    monais = ChannelSELayer(3, 8, r=4)
    monais.load_state_dict(ours.layers[0].state_dict())
    features = torch.randn(2, 8, 3, 4, 5)
    assert torch.equal(ours(features), monais(features))


def test_a_network_of_one_level_has_no_way_down() -> None:
    network = small(2, features=(4,))
    assert network(torch.randn(1, 2, 6, 6)).shape == (1, 3, 6, 6)
    assert len(network.decoders) == 0


@pytest.mark.parametrize(
    ("spatial_dims", "excitation"), [(2, "channel"), (2, "spatial"), (2, "both"), (3, "both")]
)
def test_one_batch_is_learned_by_heart(spatial_dims: int, excitation: Excitation) -> None:
    network = small(spatial_dims, excitation)
    size = (8, 5, 4)[:spatial_dims]
    # a checked pattern of three labels, which only the image's values tell apart
    labels = (torch.arange(2 * math.prod(size)) % 3).reshape(2, *size)
    images = torch.stack([labels.float(), torch.randn(2, *size)], 1)
    assert_overfits(network, images, labels, functional.cross_entropy, rate=0.05)
    assert torch.equal(network(images).argmax(1), labels)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_float32_answers_as_float64(spatial_dims: int) -> None:
    assert_same_in_double(small(spatial_dims), torch.randn(2, 2, *(11,) * spatial_dims))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"features": ()}, "a width at least"),
        ({"reduction": 16}, "smaller than in_channels"),
        ({"excitation": "none"}, "channel, spatial or both"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        small(2, **changes)
