"""Detectors as they learn, whoever made them: MONAI's RetinaNet, and torchvision's networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias, cast

import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from torch import Tensor, nn

from pipeline.models import networks, retinanet
from pipeline.training.recipe import Recipe

#: of one image: ``boxes`` (N, 2 * dims) in voxels, the first edge along each axis, then the last
#: ones, and ``labels`` (N,) from 0; of objects also ``masks`` (N, *size)
Target: TypeAlias = Mapping[str, Tensor]
_PREFIX: Final = "network."


class Detector(Protocol):
    """How a detector is built, and what it learns from."""

    def network(self) -> nn.Module:
        """Return the detector with fresh weights."""

    def losses(
        self, network: nn.Module, images: Sequence[Tensor], targets: Sequence[Target]
    ) -> Mapping[str, Tensor]:
        """Return the network's own losses of images, each (channels, *size)."""

    def answering(self, network: nn.Module) -> nn.Module:
        """Return the part of it that answers, whose weights a bundle holds."""


def of(recipe: Recipe) -> Detector:
    """Return how the network of a recipe learns."""
    return (
        MonaiDetector(recipe) if recipe.network.name == "RetinaNet" else TorchvisionDetector(recipe)
    )


@dataclass(frozen=True)
class MonaiDetector:
    """A RetinaNet among MONAI's anchors, matcher and losses."""

    recipe: Recipe

    def network(self) -> nn.Module:
        """Return the detector, anchors and matcher included, with fresh weights."""
        arguments = dict(self.recipe.network.arguments)
        dims, labels = arguments.pop("spatial_dims"), arguments.pop("num_classes")
        built = retinanet.build(dims, labels, **arguments)
        if self.recipe.loss == "focal":
            built.fg_bg_sampler = None
            built.set_cls_loss(FocalLoss())
        else:
            # Negatives are drawn from this many times as many of the hardest. From a small pool all
            # lie beside a box at first, and nothing is learnt but their share: 0.7 for 8 epochs on
            # nodules with a pool of 20, 0.13 with 200.
            built.set_hard_negative_sampler(
                batch_size_per_image=64, positive_fraction=0.3, pool_size=200, min_neg=16
            )
        return cast("nn.Module", built)

    def losses(
        self, network: nn.Module, images: Sequence[Tensor], targets: Sequence[Target]
    ) -> Mapping[str, Tensor]:
        """Return ``classification`` and ``box_regression``."""
        found: Mapping[str, Tensor] = network(list(images), [dict(target) for target in targets])
        return found

    def answering(self, network: nn.Module) -> nn.Module:
        """Return the RetinaNet without its anchors."""
        return cast("nn.Module", network.network)


@dataclass(frozen=True)
class TorchvisionDetector:
    """One of torchvision's detectors: its targets are x0, y0, x1, y1."""

    recipe: Recipe

    def network(self) -> nn.Module:
        """Return the network with fresh weights."""
        return networks.build(self.recipe.network.name, self.recipe.network.arguments)

    def losses(
        self, network: nn.Module, images: Sequence[Tensor], targets: Sequence[Target]
    ) -> Mapping[str, Tensor]:
        """Return what the network states: two losses, or one for each part of its two stages."""
        # its RetinaNet numbers labels from 0, as we do; the others keep 0 for the background
        first = 0 if self.recipe.network.name == "torchvision.retinanet" else 1
        turned: list[dict[str, Any]] = [
            {
                **target,
                "boxes": target["boxes"][:, [1, 0, 3, 2]],
                "labels": target["labels"] + first,
            }
            for target in targets
        ]
        found: Mapping[str, Tensor] = network(list(images), turned)
        return found

    def answering(self, network: nn.Module) -> nn.Module:
        """Return the network itself."""
        return network


class FocalLoss(nn.Module):
    """The focal loss over all anchors, for each that is matched to a box.

    Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, with alpha 0.25 and gamma 2.
    """

    def forward(self, logits: Tensor, matched: Tensor) -> Tensor:
        """Return a scalar from logits and classes, 0 or 1, both (anchors, labels)."""
        entropy = F.binary_cross_entropy_with_logits(logits, matched, reduction="none")
        missing = torch.sigmoid(torch.where(matched > 0, -logits, logits))
        share = torch.where(matched > 0, 0.25, 0.75)
        return (share * missing**2 * entropy).sum() / matched.sum().clamp(min=1.0)


def bundle_weights(recipe: Recipe, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the part of a detector's state that a bundle stores: what answers."""
    if recipe.network.name != "RetinaNet":
        return dict(state)
    return {
        name.removeprefix(_PREFIX): value
        for name, value in state.items()
        if name.startswith(_PREFIX)
    }
