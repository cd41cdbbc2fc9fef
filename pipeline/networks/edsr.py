"""EDSR: residual blocks without normalisation, for higher resolution.

Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPR Workshops
2017. The mean colour that the paper subtracts is that of its photographs; here ``mean`` is what a
recipe says.
"""

from __future__ import annotations

from torch import nn

from pipeline.networks.super_resolution import Skip, SuperResolution, convolution, finer


class EDSR(SuperResolution):
    """The network; sizes by default are those of the paper's baseline.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: channels of the answer.
        scale: voxels of the answer for one of the input, along each axis: 1, 2, 3 or 4.
        features: width of every convolution.
        blocks: residual blocks, at least one.
        residual_weight: what a block's answer is scaled by; the paper's 256 features need 0.1.
        mean: subtracted from the image; 0.5 for values between 0 and 1.
        direct: whether the last finer step answers by itself (Shi et al.), without a convolution on
            the fine grid, where there is the most work.

    Raises:
        ValueError: no block, another scale, or no finer step that could answer.

    """

    def __init__(  # noqa: PLR0913 - what a bundle may say of it; all are named
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        scale: int = 2,
        features: int = 64,
        blocks: int = 16,
        residual_weight: float = 1.0,
        mean: float = 0.0,
        direct: bool = False,
    ) -> None:
        if blocks < 1:
            raise ValueError("EDSR has a residual block at least")
        if direct and scale == 1:
            raise ValueError("EDSR of scale 1 has no finer step that answers: direct is for others")

        def same() -> nn.Module:
            return convolution(spatial_dims, features, features)

        residual = [Skip(same(), nn.ReLU(), same(), weight=residual_weight) for _ in range(blocks)]
        super().__init__(
            head=convolution(spatial_dims, in_channels, features),
            body=nn.Sequential(*residual, same()),
            finer=finer(
                spatial_dims, features, scale, out_channels=out_channels if direct else None
            ),
            tail=nn.Identity() if direct else convolution(spatial_dims, features, out_channels),
            mean=mean,
        )
