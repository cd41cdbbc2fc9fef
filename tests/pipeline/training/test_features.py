"""The last feature map of networks that answer for whole images."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pipeline.models import networks
from pipeline.training.features import LastMap, NoFeatureMap

BASE = {"spatial_dims": 2, "in_channels": 1}
DENSE = BASE | {"out_channels": 2, "init_features": 4, "growth_rate": 4, "block_config": [1, 1]}
RES = {
    "spatial_dims": 2,
    "n_input_channels": 1,
    "num_classes": 2,
    "block": "basic",
    "layers": [1, 1, 1, 1],
    "block_inplanes": [2, 4, 6, 8],
    "conv1_t_stride": 1,
    "no_max_pool": True,
}


@pytest.mark.parametrize(
    ("name", "arguments", "shape"),
    [("DenseNet", DENSE, (8, 4, 4)), ("ResNet", RES, (8, 4, 4))],
    ids=["dense", "residual"],
)
def test_it_is_what_the_last_layer_before_the_pooling_answers(
    name: str, arguments: dict[str, Any], shape: tuple[int, ...]
) -> None:
    network = networks.build(name, arguments)
    features = LastMap(network, (1, 32, 32))
    assert features.shape == shape
    assert network.training
    found = features(torch.rand(3, 1, 32, 32))
    assert found.shape == (3, *shape)
    found.sum().backward()
    assert all(
        one.grad is not None
        for layer, one in network.named_parameters()
        if not layer.startswith(("class_layers", "fc"))
    )


def test_looking_leaves_the_statistics_of_batches_alone() -> None:
    network = networks.build("DenseNet", DENSE)
    before = {name: one.clone() for name, one in network.state_dict().items()}
    LastMap(network, (1, 32, 32))
    assert all(torch.equal(before[name], one) for name, one in network.state_dict().items())


@pytest.mark.parametrize("dims", [2, 3])
def test_of_a_transformer_it_is_the_sequence_put_back_in_place(dims: int) -> None:
    size = [16, 24, 8][:dims]
    coarse = tuple(extent // 4 for extent in size)
    network = networks.build("ViT", transformer(size, [4] * dims))
    features = LastMap(network, (1, *size))
    assert features.shape == (8, *coarse)
    items = []
    handle = network.get_submodule("norm").register_forward_hook(
        lambda _, __, answer: items.append(answer)
    )
    found = features(torch.rand(3, 1, *size))
    handle.remove()
    assert found.shape == (3, 8, *coarse)
    assert torch.equal(found[:, :, *[0] * dims], items[0][:, 1])
    assert torch.equal(found[:, :, *[-1] * dims], items[0][:, -1])
    last_of_the_second_axis = [0, -1, 0][:dims]
    place = 1 + (coarse[1] - 1) * (coarse[2] if dims == 3 else 1)
    assert torch.equal(found[:, :, *last_of_the_second_axis], items[0][:, place])


def test_a_transformer_that_cuts_patches_without_a_convolution_has_none() -> None:
    arguments = transformer([16, 16], [4, 4]) | {"proj_type": "perceptron"}
    with pytest.raises(NoFeatureMap, match="tells places apart"):
        LastMap(networks.build("ViT", arguments), (1, 16, 16))


def transformer(size: list[int], patch: list[int]) -> dict[str, Any]:
    return {
        "spatial_dims": len(size),
        "in_channels": 1,
        "num_classes": 2,
        "img_size": size,
        "patch_size": patch,
        "hidden_size": 8,
        "mlp_dim": 16,
        "num_layers": 2,
        "num_heads": 2,
    }
