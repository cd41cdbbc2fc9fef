"""Networks that answer at several depths while they learn, and once when they are used.

Each coarser answer counts half as much as the one before, as in nnU-Net (Isensee et al., Nature
Methods 2021); the idea is of Lee et al., "Deeply-Supervised Nets", AISTATS 2015. What a bundle
keeps has no part in it that only learnt.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from pipeline.models import networks
from pipeline.training.checkpoint import Weights
from pipeline.training.fields import NetworkField
from pipeline.training.fields.voxels import AT_DEPTHS
from pipeline.training.segmentation_losses import Measure


def network(stated: NetworkField, depths: int) -> nn.Module:
    """Return a network with fresh weights that answers at ``depths`` depths more, in training.

    Raises:
        ValueError: it cannot be built, or is not that deep.

    """
    more = AT_DEPTHS[stated.name](depths) if depths else {}
    return networks.build(stated.name, {**stated.arguments, **more})


def loss(answer: Tensor | Sequence[Tensor], masks: Tensor, measure: Measure) -> Tensor:
    """Return the weighted loss of all answers, the finest first.

    Args:
        answer: logits (B, classes, *spatial), one for each depth in the second axis
            (B, depths, classes, *spatial), or a list of them, each on a grid of its own.
        masks: whole numbers (B, 1, *spatial); on a coarser grid the nearest voxel counts.
        measure: the loss of one answer.

    """
    if isinstance(answer, Tensor):
        answers = answer.unbind(1) if answer.ndim > masks.ndim else (answer,)
    else:
        answers = tuple(answer)
    weights = [0.5**depth for depth in range(len(answers))]
    losses = [
        weight / sum(weights) * measure(one, _on_grid_of(one, masks))
        for weight, one in zip(weights, answers, strict=True)
    ]
    return sum(losses[1:], start=losses[0])


def bundle_weights(stated: NetworkField, weights: Weights) -> Weights:
    """Return the weights that the network of a bundle has a place for."""
    kept = networks.build(stated.name, stated.arguments).state_dict()
    return {name: weights[name] for name in kept}


def _on_grid_of(answer: Tensor, masks: Tensor) -> Tensor:
    if answer.shape[2:] == masks.shape[2:]:
        return masks
    coarser = functional.interpolate(masks.float(), size=answer.shape[2:], mode="nearest-exact")
    return coarser.to(masks.dtype)
