"""torchvision's detectors for images of any number of channels, with fresh weights.

Faster R-CNN (Ren et al., NeurIPS 2015), Mask R-CNN (He et al., ICCV 2017) and RetinaNet (Lin et
al., ICCV 2017), each over a feature pyramid on a ResNet. They take images as a list of (channels,
rows, columns) and answer with boxes x0, y0, x1, y1, as torchvision has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, MaskRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

from pipeline.networks.torchvision_networks import Backbone, resnet

_RATIOS = (0.5, 1.0, 2.0)
_BINS = 7


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """What the detectors have in common. The defaults are torchvision's."""

    spatial_dims: int
    in_channels: int
    backbone: Backbone = "resnet50"
    #: width of the pyramid
    pyramid_channels: int = 256
    #: sides of the anchors in pixels of the input, one for each level of the pyramid, five in all
    anchors: Sequence[int] = (32, 64, 128, 256, 512)
    #: width of the two layers that see the pooled features (Faster and Mask R-CNN)
    representation: int = 1024
    #: what is taken from each channel, and what it is divided by; nothing and 1 if None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None

    def __post_init__(self) -> None:
        """Check what a bundle states."""
        if self.spatial_dims != 2:
            raise ValueError("torchvision's detectors have two axes")
        if len(self.anchors) != 5:
            raise ValueError("anchors needs five sides, one for each level of the pyramid")
        for values in (self.mean, self.std):
            if values is not None and len(values) != self.in_channels:
                raise ValueError("mean and std need a number for each channel")

    def pyramid(self, levels: Sequence[int], extra: nn.Module) -> BackboneWithFPN:
        """Build the features: a pyramid on some stages of the backbone."""
        features = resnet(self.backbone, self.in_channels)
        width = features.fc.in_features
        return BackboneWithFPN(
            features,
            {f"layer{level}": str(number) for number, level in enumerate(levels)},
            [width // 2 ** (4 - level) for level in levels],
            self.pyramid_channels,
            extra,
        )

    def transform(self) -> GeneralizedRCNNTransform:
        """Return what torchvision does to images first, without a change of size."""
        mean = list(self.mean or [0.0] * self.in_channels)
        std = list(self.std or [1.0] * self.in_channels)
        return _SameSize(min_size=1, max_size=1, image_mean=mean, image_std=std)


class _SameSize(GeneralizedRCNNTransform):  # type: ignore[misc]
    """Normalises and joins images: they come in the size that the model is for."""

    def resize(self, image: Tensor, target: Any = None) -> tuple[Tensor, Any]:
        return image, target


def faster_rcnn(*, num_classes: int, **trunk: Any) -> nn.Module:
    """Build a Faster R-CNN. ``num_classes``: labels, without background; ``trunk``: see ``Trunk``.

    Its labels are numbered from 1, 0 is the background.
    """
    return _rcnn(FasterRCNN, num_classes + 1, Trunk(**trunk))


def mask_rcnn(*, num_classes: int, **trunk: Any) -> nn.Module:
    """Build a Mask R-CNN. ``num_classes``: labels and background; ``trunk``: see ``Trunk``."""
    return _rcnn(MaskRCNN, num_classes, Trunk(**trunk))


def retinanet(*, num_classes: int, **trunk: Any) -> nn.Module:
    """Build a RetinaNet. ``num_classes``: labels, without background; ``trunk``: see ``Trunk``.

    Its labels are numbered from 0.
    """
    given = Trunk(**trunk)
    top = LastLevelP6P7(given.pyramid_channels, given.pyramid_channels)
    octaves = [tuple(int(side * 2 ** (third / 3)) for third in range(3)) for side in given.anchors]
    built: nn.Module = RetinaNet(
        given.pyramid((2, 3, 4), top), num_classes, anchor_generator=_anchors(octaves)
    )
    built.transform = given.transform()
    return built


def _rcnn(kind: type[FasterRCNN], outputs: int, given: Trunk) -> nn.Module:
    built = kind(
        given.pyramid((1, 2, 3, 4), LastLevelMaxPool()),
        num_classes=outputs,
        rpn_anchor_generator=_anchors([(side,) for side in given.anchors]),
    )
    if given.representation != built.roi_heads.box_head.fc6.out_features:
        pooled = given.pyramid_channels * _BINS**2
        built.roi_heads.box_head = TwoMLPHead(pooled, given.representation)
        built.roi_heads.box_predictor = FastRCNNPredictor(given.representation, outputs)
    built.transform = given.transform()
    whole: nn.Module = built
    return whole


def _anchors(sides: Sequence[tuple[int, ...]]) -> AnchorGenerator:
    # computed at once and no weight: without memory they would be lost
    with torch.device("cpu"):
        return AnchorGenerator(tuple(sides), (_RATIOS,) * len(sides))
