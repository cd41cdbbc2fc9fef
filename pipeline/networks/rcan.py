"""RCAN: residual groups whose channels are weighed against each other, for higher resolution.

Zhang et al., "Image Super-Resolution Using Very Deep Residual Channel Attention Networks", ECCV
2018. Channels are weighed by their means over the whole window, so a window's answer depends on how
much it shows: run it at the size that it was trained at.
"""

from __future__ import annotations

from typing import Final

from monai.networks.blocks.squeeze_and_excitation import ChannelSELayer
from torch import nn

from pipeline.networks.super_resolution import Skip, SuperResolution, convolution, finer

_MOST: Final = 64


class RCAN(SuperResolution):
    """The network; sizes by default are the paper's.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the answer.
        scale: voxels of the answer for one of the input, along each axis: 1, 2, 3 or 4.
        features: width of every convolution.
        groups: groups of residual blocks, each with a skip around it; 1 to 64.
        blocks: residual blocks of a group, 1 to 64.
        reduction: how many times narrower the attention is than the features, at its waist.

    Raises:
        ValueError: no group or block, or more than 64, another scale, or a reduction to less than
            one feature.

    """

    def __init__(  # noqa: PLR0913 - what a bundle may say of it; all are named
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        scale: int = 2,
        features: int = 64,
        groups: int = 10,
        blocks: int = 20,
        reduction: int = 16,
    ) -> None:
        if not (1 <= groups <= _MOST and 1 <= blocks <= _MOST):
            raise ValueError(f"RCAN has 1 to {_MOST} groups of 1 to {_MOST} residual blocks")

        def same() -> nn.Module:
            return convolution(spatial_dims, features, features)

        def block() -> nn.Module:
            attention = ChannelSELayer(spatial_dims, features, r=reduction)
            return Skip(same(), nn.ReLU(), same(), attention)

        def group() -> nn.Module:
            return Skip(*(block() for _ in range(blocks)), same())

        super().__init__(
            head=convolution(spatial_dims, in_channels, features),
            body=nn.Sequential(*(group() for _ in range(groups)), same()),
            finer=finer(spatial_dims, features, scale),
            tail=convolution(spatial_dims, features, out_channels),
        )
