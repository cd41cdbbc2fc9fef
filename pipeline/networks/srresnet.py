"""SRResNet: residual blocks with batch normalisation, for higher resolution.

Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial
Network", CVPR 2017. It is also the generator of that paper's SRGAN: ``adversarial`` trains it so.
"""

from __future__ import annotations

from monai.networks.blocks.convolutions import Convolution
from torch import nn

from pipeline.networks.super_resolution import Skip, SuperResolution, convolution, finer

_WIDE = 9


class SRResNet(SuperResolution):
    """The network; sizes by default are the paper's.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the answer.
        scale: voxels of the answer for one of the input, along each axis: 1, 2, 3 or 4.
        features: width of every convolution.
        blocks: residual blocks, at least one.

    Raises:
        ValueError: no block, or another scale.

    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        scale: int = 2,
        features: int = 64,
        blocks: int = 16,
    ) -> None:
        if blocks < 1:
            raise ValueError("SRResNet has a residual block at least")

        def normed(ordering: str) -> nn.Module:
            return Convolution(
                spatial_dims, features, features, adn_ordering=ordering, act="PRELU", norm="BATCH"
            )

        wide_in = convolution(spatial_dims, in_channels, features, _WIDE)
        residual = [Skip(normed("NA"), normed("N")) for _ in range(blocks)]
        super().__init__(
            head=nn.Sequential(wide_in, nn.PReLU()),
            body=nn.Sequential(*residual, normed("N")),
            finer=finer(spatial_dims, features, scale, activated=True),
            tail=convolution(spatial_dims, features, out_channels, _WIDE),
        )
