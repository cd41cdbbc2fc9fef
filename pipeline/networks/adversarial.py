"""Two networks against each other: one makes images, one tells them from real ones.

To augment a training set, images are made from latent values: Radford et al., "Unsupervised
Representation Learning with Deep Convolutional Generative Adversarial Networks" (DCGAN), ICLR 2016,
here in two or three axes. Images are made within 0 and 1, as every network here sees them, and not
within -1 and 1. To restore, they are made from worse ones: any network for restoration is the
generator, and its discriminator judges patch by patch: Isola et al., "Image-to-Image Translation
with Conditional Adversarial Networks", CVPR 2017.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from monai.networks.blocks.acti_norm import ADN
from monai.networks.blocks.convolutions import Convolution
from monai.networks.nets.patchgan_discriminator import PatchDiscriminator
from torch import Tensor, nn
from torch.optim import Optimizer

_LEAKY: Final = ("LEAKYRELU", {"negative_slope": 0.2})


class Generator(nn.Module):
    """From latent values to images: a dense layer, then transposed convolutions.

    Args:
        spatial_dims: 2 or 3.
        in_channels: latent values of an image.
        out_channels: channels of an image.
        size: of an image, along each axis; each step doubles it, so that it is a multiple of
            2 to the power of the number of ``features``.
        features: width before each step, the coarsest first.

    Raises:
        ValueError: no features, or a size that steps do not come to.

    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        size: Sequence[int],
        features: Sequence[int] = (256, 128, 64),
    ) -> None:
        super().__init__()
        coarsest = _coarsest(spatial_dims, size, features)
        self._coarsest = (features[0], *coarsest)

        def step(before: int, after: int, ordering: str) -> nn.Module:
            return Convolution(
                spatial_dims,
                before,
                after,
                strides=2,
                kernel_size=4,
                padding=1,
                output_padding=0,
                is_transposed=True,
                adn_ordering=ordering,
                act="RELU",
                norm="BATCH",
            )

        self.dense = nn.Linear(in_channels, math.prod(self._coarsest))
        self.first = ADN("NA", features[0], act="RELU", norm="BATCH", norm_dim=spatial_dims)
        self.steps = nn.Sequential(
            *(step(before, after, "NA") for before, after in pairwise(features)),
            step(features[-1], out_channels, ""),
        )

    def forward(self, latent: Tensor) -> Tensor:
        """Map (B, in_channels) to images (B, out_channels, *size) within 0 and 1."""
        coarse = self.first(self.dense(latent).view(len(latent), *self._coarsest))
        images: Tensor = self.steps(coarse).sigmoid()
        return images


class Discriminator(nn.Module):
    """From images of one size to one logit each: strided convolutions and a dense layer.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of an image.
        out_channels: logits of an image; 1 says whether it is real.
        size: of an image, along each axis; as the generator's.
        features: width after each halving, the finest first.

    Raises:
        ValueError: no features, or a size that cannot be halved so often.

    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        out_channels: int = 1,
        size: Sequence[int],
        features: Sequence[int] = (64, 128, 256),
    ) -> None:
        super().__init__()
        coarsest = _coarsest(spatial_dims, size, features)

        def step(before: int, after: int, norm: str | None) -> nn.Module:
            return Convolution(
                spatial_dims,
                before,
                after,
                strides=2,
                kernel_size=4,
                padding=1,
                act=_LEAKY,
                norm=norm,
            )

        # as in the paper, the first is not normalised
        self.steps = nn.Sequential(
            step(in_channels, features[0], None),
            *(step(before, after, "BATCH") for before, after in pairwise(features)),
        )
        self.dense = nn.Linear(features[-1] * math.prod(coarsest), out_channels)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, in_channels, *size) to logits (B, out_channels): above 0 for real ones."""
        logits: Tensor = self.dense(self.steps(images).flatten(1))
        return logits


class PatchJudge(nn.Module):
    """From images of any size to a logit for each patch of theirs, by MONAI's discriminator.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of an image.
        out_channels: logits of a patch; 1 says whether it is real.
        features: width after the first halving; each further one doubles it.
        halvings: how often the resolution is halved before the patches are judged.

    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        out_channels: int = 1,
        features: int = 64,
        halvings: int = 3,
    ) -> None:
        super().__init__()
        self.patches = PatchDiscriminator(
            spatial_dims, features, in_channels, out_channels, halvings
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, in_channels, *size) to logits (B, out_channels, *patches)."""
        logits: Tensor = self.patches(images)[-1]
        return logits


@dataclass(frozen=True, kw_only=True)
class Losses:
    """What the two networks minimise, both of the discriminator's logits, of any shape."""

    #: of the logits of real images, and of made ones
    discriminator: Callable[[Tensor, Tensor], Tensor]
    #: of the logits of made images
    generator: Callable[[Tensor], Tensor]


def _log_likelihoods(real: Tensor, made: Tensor) -> Tensor:
    return F.softplus(-real).mean() + F.softplus(made).mean()


def _log_likelihood(made: Tensor) -> Tensor:
    return F.softplus(-made).mean()


def _squares(real: Tensor, made: Tensor) -> Tensor:
    return 0.5 * ((real - 1).square().mean() + made.square().mean())


def _square(made: Tensor) -> Tensor:
    return 0.5 * (made - 1).square().mean()


#: Goodfellow et al., "Generative Adversarial Nets", NIPS 2014: the discriminator's cross-entropy;
#: the generator raises the likelihood that what it made is real, not lowers that it is not
NON_SATURATING: Final = Losses(discriminator=_log_likelihoods, generator=_log_likelihood)
#: Mao et al., "Least Squares Generative Adversarial Networks", ICCV 2017, equation 9: logits are
#: drawn to 1 for what is, or shall seem, real and to 0 for what was made
LEAST_SQUARES: Final = Losses(discriminator=_squares, generator=_square)


@dataclass(frozen=True, kw_only=True)
class Game:
    """Two networks, what trains them, and what they are trained for."""

    generator: nn.Module
    discriminator: nn.Module
    generator_optimiser: Optimizer
    discriminator_optimiser: Optimizer
    losses: Losses = NON_SATURATING
    #: weight of the mean absolute difference between what is made and what is real; above 0 only
    #: where they belong together, as in restoration
    fidelity: float = 0.0

    def step(self, sources: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """Let the discriminator learn once, then the generator.

        Args:
            sources: what the generator makes images from: latent values, or worse images.
            real: images (B, channels, *size); with ``fidelity``, those that ``sources`` come from.

        Returns:
            The losses of discriminator and generator, before they learned; without gradients.

        """
        made = self.generator(sources)
        self.discriminator_optimiser.zero_grad()
        judged = self.losses.discriminator(
            self.discriminator(real), self.discriminator(made.detach())
        )
        judged.backward()  # type: ignore[no-untyped-call]
        self.discriminator_optimiser.step()

        self.generator_optimiser.zero_grad()
        fooled = self.losses.generator(self.discriminator(made))
        if self.fidelity:
            fooled = fooled + self.fidelity * F.l1_loss(made, real)
        fooled.backward()  # type: ignore[no-untyped-call]
        self.generator_optimiser.step()
        return judged.detach(), fooled.detach()


def _coarsest(spatial_dims: int, size: Sequence[int], features: Sequence[int]) -> tuple[int, ...]:
    """Return the size before every doubling, or after every halving.

    Raises:
        ValueError: no features, or a size that they do not divide.

    """
    times = 2 ** len(features)
    if not features or len(size) != spatial_dims or any(one < 1 or one % times for one in size):
        raise ValueError(
            f"size needs {spatial_dims} multiples of {times}: each of features halves it"
        )
    return tuple(extent // times for extent in size)
