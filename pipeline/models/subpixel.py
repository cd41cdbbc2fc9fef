"""A small network for higher resolution: features at the input's size, then a sub-pixel step.

Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
Convolutional Neural Network", CVPR 2016; here of MONAI's blocks, in two or three dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.blocks.convolutions import Convolution
from monai.networks.blocks.upsample import SubpixelUpsample
from torch import nn

DEFAULT_FEATURES = (32, 32)


def network(
    *,
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    scale: int = 2,
    features: Sequence[int] = DEFAULT_FEATURES,
) -> nn.Module:
    """Build the network: (batch, in_channels, *size) to (batch, out_channels, *size x scale).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the answer.
        scale: voxels of the answer for one of the input, along each axis.
        features: width of each convolution before the step, at least one.

    """
    if not features or not 1 <= scale <= 8:
        raise ValueError("features needs a width at least, and scale lies between 1 and 8")
    widths = [in_channels, *features]
    blocks = [
        Convolution(spatial_dims, before, after, act="PRELU", norm=None)
        for before, after in zip(widths, features, strict=False)
    ]
    step = SubpixelUpsample(
        spatial_dims, features[-1], out_channels, scale_factor=scale, apply_pad_pool=False
    )
    return nn.Sequential(*blocks, step)
