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


def test_a_transformer_has_none() -> None:
    arguments = BASE | {
        "num_classes": 2,
        "img_size": [16, 16],
        "patch_size": [4, 4],
        "hidden_size": 8,
        "mlp_dim": 16,
        "num_layers": 2,
        "num_heads": 2,
    }
    with pytest.raises(NoFeatureMap):
        LastMap(networks.build("ViT", arguments), (1, 16, 16))
