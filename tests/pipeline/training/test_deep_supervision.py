"""Deep supervision: answers at several depths that learn together, of which one is kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.errors import TrainingRefused
from pipeline.models import networks
from pipeline.training import deep_supervision, recipe, segmentation
from pipeline.training.fields import NetworkField
from tests import quick_training

DYNUNET = NetworkField(
    name="DynUNet",
    arguments={
        "spatial_dims": 2,
        "in_channels": 1,
        "out_channels": 2,
        "kernel_size": [3, 3, 3, 3],
        "strides": [1, 2, 2, 2],
        "upsample_kernel_size": [2, 2, 2],
        "filters": [4, 8, 8, 8],
    },
)
SEGRESNET = NetworkField(
    name="SegResNetDS",
    arguments={
        "spatial_dims": 2,
        "in_channels": 1,
        "out_channels": 2,
        "init_filters": 4,
        "blocks_down": [1, 1, 1],
        "norm": "INSTANCE",
    },
)


def document(network: NetworkField, **more: Any) -> dict[str, Any]:
    stated = {"modalities": ["OT"], "spatial_dims": 2, "window": [0, 1], "size": [16, 16]}
    return quick_training.SEGMENTATION | {"network": network.model_dump(), "input": stated} | more


def refusal(document: dict[str, Any]) -> str:
    with pytest.raises(TrainingRefused) as refused:
        recipe.check(document)
    return refused.value.sentence


def difference(logits: Tensor, masks: Tensor) -> Tensor:
    return (logits[:, 1:] - masks).abs().mean()


def test_each_coarser_answer_counts_half_as_much() -> None:
    masks = torch.zeros(1, 1, 4, 4, dtype=torch.int64)
    answers = [torch.full((1, 2, side, side), value) for side, value in ((4, 7.0), (2, 14.0))]
    answers.append(torch.full((1, 2, 1, 1), 28.0))
    assert float(deep_supervision.loss(answers, masks, difference)) == pytest.approx(12.0)
    stacked = torch.stack([torch.full((1, 2, 4, 4), value) for value in (7.0, 14.0, 28.0)], dim=1)
    assert float(deep_supervision.loss(stacked, masks, difference)) == pytest.approx(12.0)
    assert float(deep_supervision.loss(stacked[:, 0], masks, difference)) == pytest.approx(7.0)


def test_a_coarser_answer_is_held_to_the_nearest_voxels() -> None:
    masks = torch.zeros(1, 1, 4, 4, dtype=torch.int64)
    masks[..., 2:] = 1
    coarse = torch.tensor([[0.0, 1.0], [0.0, 1.0]]).expand(1, 2, 2, 2)
    fine = masks.expand(1, 2, 4, 4).float()
    assert float(deep_supervision.loss([fine, coarse], masks, difference)) == 0.0


@pytest.mark.parametrize("stated", [DYNUNET, SEGRESNET], ids=lambda stated: stated.name)
def test_every_depth_learns_and_the_bundle_keeps_the_network_of_one_answer(
    stated: NetworkField,
) -> None:
    wanted = recipe.check(document(stated, deep_supervision=1))
    torch.manual_seed(0)
    network = deep_supervision.network(stated, 1)
    images = torch.rand(2, 1, 16, 16)
    masks = (images > 0.5).long()
    deep_supervision.loss(network(images), masks, difference).backward()  # type: ignore[no-untyped-call]
    assert all(weights.grad is not None for weights in network.parameters())
    kept = segmentation.bundle_weights(wanted, dict(network.state_dict()))
    assert kept.keys() < network.state_dict().keys()
    shipped = networks.build(stated.name, stated.arguments)
    shipped.load_state_dict(kept)
    assert torch.equal(shipped.eval()(images), network.eval()(images))


def test_networks_of_one_answer_are_named_before_anything_trains() -> None:
    assert "UNet does not" in refusal(quick_training.SEGMENTATION | {"deep_supervision": 1})
    told = DYNUNET.model_copy(
        update={"arguments": {**DYNUNET.arguments, "deep_supervision": False}}
    )
    assert "decided by" in refusal(document(told, deep_supervision=1))


def test_deep_supervision_is_for_segmentations() -> None:
    assert "segmentation" in refusal(quick_training.RESTORATION | {"deep_supervision": 1})
    assert "segmentation" in refusal(quick_training.CLASSIFICATION | {"balanced": True})
