"""What networks for higher resolution have in common: a body on the coarse grid, then finer steps.

Work is done where there are few voxels; sub-pixel convolutions (Shi et al., "Real-Time Single Image
and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network", CVPR 2016)
make the grid finer at the end. Two or three axes, any size.
"""

from __future__ import annotations

from typing import Final

from monai.networks.blocks.convolutions import Convolution
from monai.networks.blocks.upsample import SubpixelUpsample
from torch import Tensor, nn

#: finer steps, one after the other, by the scale they come to; 1 leaves the grid as it is
_STEPS: Final = {1: (), 2: (2,), 3: (3,), 4: (2, 2)}


class SuperResolution(nn.Module):
    """Head, a body around which a skip leads, finer steps, tail."""

    def __init__(
        self, *, head: nn.Module, body: nn.Module, finer: nn.Module, tail: nn.Module
    ) -> None:
        super().__init__()
        self.head, self.body, self.finer, self.tail = head, body, finer, tail

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, in_channels, *size) to (B, out_channels, *size x scale)."""
        shallow = self.head(images)
        answer: Tensor = self.tail(self.finer(shallow + self.body(shallow)))
        return answer


class Skip(nn.Module):
    """Adds what a branch answers, scaled, to what the branch was given."""

    def __init__(self, *branch: nn.Module, weight: float = 1.0) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)
        self._weight = weight

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, *size) to the same shape."""
        added: Tensor = self.branch(features)
        return features + self._weight * added


def convolution(
    spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int = 3
) -> nn.Module:
    """Return a convolution that keeps the size, without norm or activation."""
    return Convolution(
        spatial_dims, in_channels, out_channels, kernel_size=kernel_size, conv_only=True
    )


def finer(spatial_dims: int, features: int, scale: int, *, activated: bool = False) -> nn.Module:
    """Return steps from (B, features, *size) to (B, features, *size x scale).

    Args:
        spatial_dims: 2 or 3.
        features: channels, before and after.
        scale: 1, 2, 3 or 4; 4 is twice 2.
        activated: whether a PReLU follows each step.

    Raises:
        ValueError: another scale.

    """
    if scale not in _STEPS:
        raise ValueError(f"scale is one of {', '.join(map(str, _STEPS))}, not {scale}")
    made: list[nn.Module] = []
    for step in _STEPS[scale]:
        made.append(
            SubpixelUpsample(
                spatial_dims, features, features, scale_factor=step, apply_pad_pool=False
            )
        )
        if activated:
            made.append(nn.PReLU())
    return nn.Sequential(*made)
