"""A U-Net whose features are weighed by squeeze and excitation, by channel, by place, or by both.

Ronneberger et al., "U-Net", MICCAI 2015; Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018;
Roy et al., "Concurrent Spatial and Channel Squeeze & Excitation in Fully Convolutional Networks",
MICCAI 2018, for excitation by place and by both, and for its position after each pair of
convolutions. Channels are squeezed to their mean over the window that the network is given.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from monai.networks.blocks.squeeze_and_excitation import ChannelSELayer
from monai.networks.layers.factories import Conv
from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks.trunk import DEFAULT_FEATURES, convolution

Excitation: TypeAlias = Literal["channel", "spatial", "both"]


class SpatialSELayer(nn.Module):
    """Features times a number from 0 to 1 for each place, from all its channels."""

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.squeeze = Conv[Conv.CONV, spatial_dims](channels, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, channels, *spatial) to the same shape."""
        excited: Tensor = features * self.squeeze(features).sigmoid()
        return excited


class SqueezeExcitation(nn.Module):
    """The sum of what the layers of an excitation make of features."""

    def __init__(
        self, spatial_dims: int, channels: int, *, reduction: int, excitation: Excitation
    ) -> None:
        super().__init__()
        if excitation not in {"channel", "spatial", "both"}:
            raise ValueError("excitation is channel, spatial or both")
        self.layers = nn.ModuleList()
        if excitation != "spatial":
            self.layers.append(ChannelSELayer(spatial_dims, channels, r=reduction))
        if excitation != "channel":
            self.layers.append(SpatialSELayer(spatial_dims, channels))

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, channels, *spatial) to the same shape."""
        excited: Tensor = functools.reduce(torch.add, [layer(features) for layer in self.layers])
        return excited


class SEUNet(nn.Module):
    """A U-Net of pairs of convolutions, each followed by squeeze and excitation."""

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        features: Sequence[int] = DEFAULT_FEATURES,
        reduction: int = 8,
        excitation: Excitation = "both",
    ) -> None:
        """Build with fresh weights.

        Args:
            spatial_dims: 2 or 3.
            in_channels: channels of the image.
            out_channels: labels, background included.
            features: width on each level, the finest first; a level halves the resolution.
            reduction: how many times fewer values the channels are squeezed to.
            excitation: what is weighed: channels, places, or both.

        Raises:
            ValueError: no features, fewer of them than ``reduction``, or another excitation.

        """
        super().__init__()
        if not features:
            raise ValueError("features needs a width at least")

        def level(before: int, after: int, stride: int = 1) -> nn.Module:
            return nn.Sequential(
                convolution(spatial_dims, before, after, stride=stride),
                convolution(spatial_dims, after, after),
                SqueezeExcitation(spatial_dims, after, reduction=reduction, excitation=excitation),
            )

        steps = list(itertools.pairwise(features))
        self.encoders = nn.ModuleList(
            [level(in_channels, features[0]), *(level(fine, coarse, 2) for fine, coarse in steps)]
        )
        self.decoders = nn.ModuleList(
            level(fine + coarse, fine) for fine, coarse in reversed(steps)
        )
        self.head = Conv[Conv.CONV, spatial_dims](features[0], out_channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, in_channels, *spatial), of any size, to logits (N, out_channels, *spatial)."""
        features, skips = images, []
        for encoder in self.encoders:
            features = encoder(features)
            skips.append(features)
        for decoder, skip in zip(self.decoders, reversed(skips[:-1]), strict=True):
            # to the skip's size, which is odd where halving rounded up
            finer = functional.interpolate(features, skip.shape[2:])
            features = decoder(torch.cat([finer, skip], 1))
        logits: Tensor = self.head(features)
        return logits
