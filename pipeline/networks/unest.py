"""UNesT: a nested transformer as encoder and convolutions as decoder, for cubes of voxels.

Yu et al., "UNesT: Local Spatial Representation Learning with Hierarchical Transformer for Efficient
Medical Segmentation", Medical Image Analysis 90 (2023) 102939. Skips leave the encoder at its
patches and at every level, and the image itself; each passes a residual block, the patches a
transposed convolution that brings them to half the image's resolution.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from monai.networks.blocks.convolutions import Convolution
from monai.networks.blocks.dynunet_block import UnetOutBlock
from monai.networks.blocks.unetr_block import UnetrBasicBlock, UnetrUpBlock
from torch import Tensor, nn

from pipeline.networks.nested_transformer import NestedTransformer, Nesting

_PATCH_SIZE = 4
_LEVELS = 3


class UNesT(nn.Module):
    """The network. Its weights have the names of the published ones."""

    def __init__(self, in_channels: int, out_channels: int, nesting: Nesting) -> None:
        super().__init__()
        if nesting.patch_size != _PATCH_SIZE or len(nesting.widths) != _LEVELS:
            raise ValueError("UNesT has patches of 4 voxels and three levels")
        fine, middle, coarse = nesting.widths
        if (middle, coarse) != (2 * fine, 4 * fine) or fine % 4:
            raise ValueError("UNesT doubles its widths from level to level, from a multiple of 4")
        half, full = fine // 2, fine // 4
        self.nestViT = NestedTransformer(in_channels, nesting)
        self.encoder1 = _skip(in_channels, full)
        self.encoder2 = _finer(fine, half)
        self.encoder3 = _skip(fine, fine)
        self.encoder4 = _skip(middle, middle)
        self.encoder10 = Convolution(
            3, coarse, 2 * coarse, strides=2, adn_ordering="ADN", dropout=0.0
        )
        self.decoder5 = _up(2 * coarse, coarse)
        self.decoder4 = _up(coarse, middle)
        self.decoder3 = _up(middle, fine)
        self.decoder2 = _up(fine, half)
        self.decoder1 = _up(half, full)
        self.out = UnetOutBlock(3, full, out_channels)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, in_channels, R, R, R), R the ``roi_size``, to logits (B, out_channels, R, R, R).

        Raises:
            ValueError: images of another shape.

        """
        patches, fine, middle, coarse, normed = self.nestViT(images)
        features = self.decoder5(self.encoder10(normed), coarse)
        features = self.decoder4(features, self.encoder4(middle))
        features = self.decoder3(features, self.encoder3(fine))
        features = self.decoder2(features, self.encoder2(patches))
        features = self.decoder1(features, self.encoder1(images))
        logits: Tensor = self.out(features)
        return logits


def unest(
    in_channels: int,
    out_channels: int,
    patch_size: int = 4,
    depths: Sequence[int] = (2, 2, 8),
    embed_dim: Sequence[int] = (128, 256, 512),
    num_heads: Sequence[int] = (4, 8, 16),
) -> UNesT:
    """Build the network of the published sizes, by the names that bundles give its arguments.

    Args:
        in_channels: channels of the image.
        out_channels: labels, background included.
        patch_size: voxels along each side of a patch; 4.
        depths: layers of attention on the three levels, the finest first.
        embed_dim: features on the three levels, each twice the one before.
        num_heads: heads of attention on the three levels.

    Raises:
        ValueError: sizes that do not fit each other.

    """
    nesting = Nesting(
        patch_size=patch_size,
        widths=tuple(embed_dim),
        heads=tuple(num_heads),
        depths=tuple(depths),
    )
    return UNesT(in_channels, out_channels, nesting)


def _skip(in_channels: int, out_channels: int) -> nn.Module:
    return UnetrBasicBlock(3, in_channels, out_channels, 3, 1, "instance", res_block=True)


def _up(in_channels: int, out_channels: int) -> nn.Module:
    """Return what doubles the resolution and takes a skip of ``out_channels`` in."""
    return UnetrUpBlock(3, in_channels, out_channels, 3, 2, "instance", res_block=True)


def _finer(in_channels: int, out_channels: int) -> nn.Module:
    """Return what doubles the resolution without a skip: two transposed convolutions."""

    def convolution(channels: int, kernel: int) -> nn.Module:
        return Convolution(
            3,
            channels,
            out_channels,
            strides=kernel,
            kernel_size=kernel,
            bias=False,
            conv_only=True,
            is_transposed=True,
            padding=0,
            output_padding=0,
        )

    return nn.Sequential(
        OrderedDict(
            transp_conv_init=convolution(in_channels, 2),
            blocks=nn.Sequential(convolution(out_channels, 1)),
        )
    )
