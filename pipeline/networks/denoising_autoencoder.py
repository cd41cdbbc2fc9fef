"""A denoising autoencoder: a noisy image through a coarser grid, and back without the noise.

Vincent et al., "Stacked Denoising Autoencoders", JMLR 11 (2010) 3371-3408, here of strided and
sub-pixel convolutions. The residual form answers with the image less an estimate of its noise:
Zhang et al., "Beyond a Gaussian Denoiser: Residual Learning of Deep CNN for Image Denoising", IEEE
Transactions on Image Processing 26 (2017) 3142-3155.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from monai.networks.blocks.convolutions import Convolution
from monai.networks.blocks.upsample import SubpixelUpsample
from torch import Tensor, nn


class DenoisingAutoEncoder(nn.Module):
    """The network: the answer has the size of the image, whatever that is.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the answer.
        features: widths on the grids from the image's own to the coarsest, each half as fine as
            the one before; 2 to 8.
        residual: whether the network's last layer estimates the noise, or the image itself.

    Raises:
        ValueError: another number of widths, or a residual of other channels than the image's.

    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        features: Sequence[int] = (32, 64, 128),
        residual: bool = True,
    ) -> None:
        super().__init__()
        if not 2 <= len(features) <= 8:
            raise ValueError("features needs 2 to 8 widths, from the finest to the coarsest grid")
        if residual and in_channels != out_channels:
            raise ValueError("a residual has the channels of the image")

        def active(before: int, after: int, strides: int = 1) -> nn.Module:
            return Convolution(spatial_dims, before, after, strides=strides, act="PRELU", norm=None)

        def back(before: int, after: int) -> nn.Module:
            step = SubpixelUpsample(spatial_dims, before, after, 2, apply_pad_pool=False)
            return nn.Sequential(step, active(after, after))

        down = [active(before, after, 2) for before, after in pairwise(features)]
        up = [back(before, after) for before, after in pairwise(reversed(features))]
        self.encoder = nn.Sequential(active(in_channels, features[0]), *down)
        self.decoder = nn.Sequential(
            *up, Convolution(spatial_dims, features[0], out_channels, conv_only=True)
        )
        self._multiple = 2 ** len(down)
        self._is_residual = residual

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, in_channels, *size) to (B, out_channels, *size)."""
        size = images.shape[2:]
        missing = [-extent % self._multiple for extent in size]
        widths = [width for extent in reversed(missing) for width in (0, extent)]
        answer: Tensor = self.decoder(self.encoder(F.pad(images, widths, mode="replicate")))
        inside = answer[(slice(None), slice(None), *map(slice, size))]
        return images - inside if self._is_residual else inside
