"""torchvision's networks for any number of channels, with fresh weights: none is ever fetched.

Each builder is called by a row of our table, which fixes the architecture. Weights have the names
and, where channels and classes agree, the shapes of those that torchvision publishes.
"""

from __future__ import annotations

from typing import Any, Literal

from torch import nn
from torchvision import models
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.resnet import ResNet
from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3
from torchvision.models.segmentation.fcn import FCN, FCNHead

Backbone = Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
BACKBONES = frozenset({"resnet18", "resnet34", "resnet50", "resnet101", "resnet152"})
#: of basic blocks; torchvision cannot dilate them
_SHALLOW = frozenset({"resnet18", "resnet34"})


def classifier(
    *, architecture: str, spatial_dims: int, in_channels: int, num_classes: int, **arguments: Any
) -> nn.Module:
    """Build a network that maps (B, in_channels, rows, columns) to logits (B, num_classes).

    Args:
        architecture: a function of ``torchvision.models``; our table fixes it.
        spatial_dims: 2, as torchvision has it.
        in_channels: channels of the image. For other than three, the first convolution is replaced.
        num_classes: labels.
        arguments: further ones of the architecture.

    """
    _flat(spatial_dims)
    built: nn.Module
    built = getattr(models, architecture)(weights=None, num_classes=num_classes, **arguments)
    with_channels(built, in_channels)
    return built


def segmenter(
    *,
    architecture: Literal["fcn", "deeplabv3"],
    spatial_dims: int,
    in_channels: int,
    num_classes: int,
    backbone: Backbone = "resnet50",
) -> nn.Module:
    """Build a network that maps (B, in_channels, rows, columns) to logits under the key ``out``.

    FCN: Long et al., CVPR 2015. DeepLabV3: Chen et al., "Rethinking Atrous Convolution for Semantic
    Image Segmentation", 2017. A dilated ResNet, so that features have a stride of 8; of basic
    blocks (18, 34), which torchvision does not dilate, 32. No auxiliary classifier.

    Args:
        architecture: our table fixes it.
        spatial_dims: 2.
        in_channels: channels of the image.
        num_classes: labels and background.
        backbone: a ResNet.

    """
    _flat(spatial_dims)
    dilated = [False, backbone not in _SHALLOW, backbone not in _SHALLOW]
    features = resnet(backbone, in_channels, replace_stride_with_dilation=dilated)
    body = IntermediateLayerGetter(features, return_layers={"layer4": "out"})
    head, whole = (FCNHead, FCN) if architecture == "fcn" else (DeepLabHead, DeepLabV3)
    built: nn.Module = whole(body, head(features.fc.in_features, num_classes), None)
    return built


def resnet(name: str, in_channels: int, **arguments: Any) -> ResNet:
    """Build a ResNet to take features from.

    Raises:
        ValueError: it is none of ``BACKBONES``.

    """
    if name not in BACKBONES:
        raise ValueError(f"backbone is one of {', '.join(sorted(BACKBONES))}")
    built: ResNet = getattr(models, name)(weights=None, **arguments)
    with_channels(built, in_channels)
    return built


def with_channels(network: nn.Module, in_channels: int) -> None:
    """Replace the first convolution of a network for images by one for ``in_channels``."""
    name, first = next(
        (name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d)
    )
    if first.in_channels == in_channels:
        return
    shape: Any = {key: getattr(first, key) for key in ("kernel_size", "stride", "padding")}
    has_bias = first.bias is not None
    replaced = nn.Conv2d(in_channels, first.out_channels, **shape, bias=has_bias)
    # as torchvision begins
    nn.init.kaiming_normal_(replaced.weight, mode="fan_out", nonlinearity="relu")
    if replaced.bias is not None:
        nn.init.zeros_(replaced.bias)
    network.set_submodule(name, replaced)


def _flat(spatial_dims: int) -> None:
    if spatial_dims != 2:
        raise ValueError("torchvision's networks have two axes")
