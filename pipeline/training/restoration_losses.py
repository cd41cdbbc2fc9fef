"""What a restoration may learn from, beside pixels: features of a fixed network, and a critic.

Losses over pixels: L1, L2, and Charbonnier's (Lai et al., "Fast and Accurate Image
Super-Resolution with Deep Laplacian Pyramid Networks", IEEE TPAMI 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import torch
from monai.losses.adversarial_loss import PatchAdversarialLoss
from monai.networks.nets.patchgan_discriminator import PatchDiscriminator
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models import networks
from pipeline.models.table.row import SPATIAL_DIMS
from pipeline.training.fields import InputField
from pipeline.training.fields.voxels import CriticField, FeaturesField

#: below this a difference counts by its square; the paper's value
_EPSILON: Final = 1e-3


def charbonnier(found: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean of sqrt(difference^2 + epsilon^2): L1, but smooth at 0."""
    return ((found - wanted).square() + _EPSILON**2).sqrt().mean()


PIXELS: Final[Mapping[str, Callable[[Tensor, Tensor], Tensor]]] = {
    "l1": functional.l1_loss,
    "l2": functional.mse_loss,
    "charbonnier": charbonnier,
}


class Features:
    """How far two images lie apart for a network that never learns.

    Args:
        wanted: which network, and which of its modules are looked at.
        stated: axes and channels of the images.
        seed: its weights are drawn from.

    Raises:
        ValueError: the table has no such network, or the network no such module.

    """

    def __init__(self, wanted: FeaturesField, stated: InputField, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._network = _fixed(wanted, stated)
        self._seen: list[Tensor] = []
        modules = dict(self._network.named_modules())
        for layer in wanted.layers:
            if layer not in modules:
                raise ValueError(f"network {wanted.network} has no module {layer!r}")
            modules[layer].register_forward_hook(self._see)

    def distance(self, found: Tensor, wanted: Tensor) -> Tensor:
        """Return the mean over modules of how far their answers lie apart.

        Each is in units of how much its answer to ``wanted`` varies, so deep and shallow modules
        count alike.
        """
        network = self._network.to(found.device)
        with torch.no_grad():
            truths = self._features(network, wanted)
        apart = [
            functional.l1_loss(one, truth) / truth.std().clamp(min=1e-6)
            for one, truth in zip(self._features(network, found), truths, strict=True)
        ]
        return torch.stack(apart).mean()

    def _features(self, network: nn.Module, images: Tensor) -> list[Tensor]:
        self._seen = []
        network(images)
        seen, self._seen = self._seen, []
        return seen

    def _see(self, module: nn.Module, inputs: object, answer: Tensor) -> None:
        del module, inputs
        self._seen.append(answer)


def _fixed(wanted: FeaturesField, stated: InputField) -> nn.Module:
    """Build the network that features are taken from; it neither learns nor drops anything."""
    row = networks.TABLE.get(wanted.network)
    told = {} if row is None else {row.in_channels: stated.channels, row.outputs: 1}
    arguments = {**wanted.arguments, SPATIAL_DIMS: stated.spatial_dims, **told}
    return networks.build(wanted.network, arguments).eval().requires_grad_(requires_grad=False)


class Judged(nn.Module):
    """A network that restores, and the critic it learns against. It answers as the network does."""

    def __init__(self, restoring: nn.Module, critic: nn.Module) -> None:
        super().__init__()
        self.restoring = restoring
        self.critic = critic

    def forward(self, images: Tensor) -> Tensor:
        """Restore images."""
        answer: Tensor = self.restoring(images)
        return answer


def critic(wanted: CriticField, stated: InputField) -> nn.Module:
    """Build a critic with fresh weights: a mark for each patch of an image."""
    built: nn.Module = PatchDiscriminator(
        spatial_dims=stated.spatial_dims,
        channels=wanted.features,
        in_channels=stated.channels,
        num_layers_d=wanted.layers,
        norm="INSTANCE",  # an image is judged by itself, in training and after it
    )
    return built


_MEASURE: Final = PatchAdversarialLoss(criterion="least_squares")


def is_told(critic: nn.Module, answers: Tensor) -> Tensor:
    """Return how clearly a critic tells answers from true images: what who restores learns from."""
    loss: Tensor = _MEASURE(critic(answers)[-1], target_is_real=True, for_discriminator=False)
    return loss


def is_fooled(critic: nn.Module, answers: Tensor, wanted: Tensor) -> Tensor:
    """Return how badly a critic tells answers from true images: what the critic learns from."""
    in_vain: Tensor = _MEASURE(critic(answers)[-1], target_is_real=False, for_discriminator=True)
    missed: Tensor = _MEASURE(critic(wanted)[-1], target_is_real=True, for_discriminator=True)
    return (in_vain + missed) / 2
