"""torchvision's networks take any number of channels and never fetch weights."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

from pipeline.models import bundle, networks, predictors
from pipeline.models.devices import Device
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec
from pipeline.models.table.torchvision import TORCHVISION
from pipeline.networks import torchvision_networks
from pipeline.training import recipe
from pipeline.training.classification import Batch, Classification
from pipeline.training.data import Prepared
from pipeline.volume import Image
from tests import quick_training
from tests.pipeline.models.tiny import go_on

CLASSIFIERS = {
    str(row.entry.fixed["architecture"]): row
    for row in TORCHVISION.values()
    if row.entry.attribute == "classifier"
}
#: where the further arguments of a family go
FAMILIES = {
    "res": models.ResNet,
    "wide": models.ResNet,
    "vgg": models.VGG,
    "dense": models.DenseNet,
    "efficient": models.EfficientNet,
}
STATED = {"spatial_dims": 2, "num_classes": 3}


def without_memory(name: str, **arguments: object) -> nn.Module:
    with torch.device("meta"):
        return networks.build(f"torchvision.{name}", {**STATED, **arguments})


@pytest.mark.parametrize("architecture", CLASSIFIERS)
def test_every_architecture_is_there_and_takes_what_a_bundle_may_give(architecture: str) -> None:
    assert inspect.isfunction(getattr(models, architecture))
    family = next(made for name, made in FAMILIES.items() if architecture.startswith(name))
    known = set(inspect.signature(family).parameters)
    assert CLASSIFIERS[architecture].parameters <= known


@pytest.mark.parametrize("architecture", ["resnet18", "vgg11", "densenet121", "efficientnet_b0"])
def test_with_three_channels_the_weights_are_those_that_torchvision_publishes(
    architecture: str,
) -> None:
    with torch.device("meta"):
        theirs = getattr(models, architecture)(weights=None, num_classes=3).state_dict()
    ours = without_memory(architecture, in_channels=3).state_dict()
    assert {name: value.shape for name, value in ours.items()} == {
        name: value.shape for name, value in theirs.items()
    }


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("fcn", models.segmentation.fcn_resnet50),
        ("deeplabv3", models.segmentation.deeplabv3_resnet50),
    ],
)
def test_segmenters_have_the_weights_of_torchvisions_own(name: str, theirs: type) -> None:
    with torch.device("meta"):
        known = theirs(weights=None, weights_backbone=None, num_classes=3).state_dict()
    ours = without_memory(name, in_channels=3).state_dict()
    assert [(key, value.shape) for key, value in ours.items()] == [
        (key, value.shape) for key, value in known.items()
    ]


@pytest.mark.parametrize("channels", [1, 4])
def test_only_the_first_convolution_is_another_for_other_channels(channels: int) -> None:
    ours = without_memory("resnet18", in_channels=channels).state_dict()
    three = without_memory("resnet18", in_channels=3).state_dict()
    changed = [name for name, value in ours.items() if value.shape != three[name].shape]
    assert changed == ["conv1.weight"]
    assert ours["conv1.weight"].shape == (64, channels, 7, 7)


def test_a_segmenter_answers_with_one_map_in_the_size_of_its_image() -> None:
    torch.manual_seed(0)
    arguments = {**STATED, "in_channels": 1, "backbone": "resnet18"}
    network = networks.build("torchvision.fcn", arguments).train()
    answer = network(torch.rand(2, 1, 40, 56))
    assert answer.shape == (2, 3, 40, 56)
    answer.square().mean().backward()
    assert all(value.grad is not None for value in network.parameters())


def test_what_is_no_backbone_is_refused() -> None:
    with pytest.raises(ValueError, match="backbone is one of resnet101"):
        torchvision_networks.resnet("load_state_dict_from_url", 1)


@pytest.mark.parametrize(
    ("name", "kind", "more"),
    [
        ("torchvision.resnet18", Kind.CLASSIFICATION, {}),
        ("torchvision.fcn", Kind.SEGMENTATION, {"backbone": "resnet18"}),
    ],
)
def test_a_bundle_that_names_one_loads_and_answers(
    tmp_path: Path, name: str, kind: Kind, more: dict[str, str]
) -> None:
    first = 1 if kind is Kind.SEGMENTATION else 0
    arguments = {"spatial_dims": 2, "in_channels": 3, "num_classes": 2 + first, **more}
    stated = ModelSpec(
        name="tiny",
        version="1",
        kind=kind,
        title="Tiny",
        input=InputSpec(modalities=("XC",), spatial_dims=2, channels=3, size=(32, 32)),
        labels=tuple(Label(number=first + place, name=f"label {place}") for place in (0, 1)),
        network=name,
        network_arguments=arguments,
    )
    torch.manual_seed(0)
    weights = networks.build(name, arguments).state_dict()
    written = bundle.write(tmp_path / "tiny", stated, weights=weights, card="#")
    predictor = predictors.open(written, device=Device())
    pixels = np.random.default_rng(0).integers(0, 255, (1, 32, 40, 3)).astype(np.uint8)
    found = predictor.predict(Image(pixels=pixels), checkpoint=go_on)
    assert [one.label for one in found.findings] == ["label 0", "label 1"]
    if kind is Kind.SEGMENTATION:
        assert found.label_map is not None
        assert found.label_map.shape == (1, 32, 40)


def test_a_classifier_of_torchvision_learns_by_a_recipe() -> None:
    arguments = {"spatial_dims": 2, "in_channels": 1, "num_classes": 2}
    network = {"name": "torchvision.resnet18", "arguments": arguments}
    wanted = recipe.check({**quick_training.CLASSIFICATION, "network": network})
    prepared = Prepared(training=(), validation=())
    task = Classification(recipe=wanted, prepared=prepared, device=torch.device("cpu"))
    torch.manual_seed(0)
    learning = task.network().train()
    optimiser = torch.optim.SGD(learning.parameters(), lr=0.01)
    batch = Batch(torch.rand(4, 1, 32, 32), torch.tensor([0, 1, 0, 1]), {})
    losses = []
    for _ in range(3):
        optimiser.zero_grad()
        loss = task.loss(learning, batch)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
