"""What networks for higher resolution have in common: a body on the coarse grid, then finer steps.

Work is done where there are few voxels; sub-pixel convolutions (Shi et al., "Real-Time Single Image
and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network", CVPR 2016)
make the grid finer at the end. Two or three axes, any size.
"""

from __future__ import annotations

from typing import Final

from monai.networks.blocks.convolutions import Convolution
from monai.networks.blocks.upsample import SubpixelUpsample
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

#: finer steps, one after the other, by the scale they come to; 1 leaves the grid as it is
_STEPS: Final = {1: (), 2: (2,), 3: (3,), 4: (2, 2)}


class SuperResolution(nn.Module):
    """Head, a body around which a skip leads, finer steps, tail."""

    def __init__(
        self,
        *,
        head: nn.Module,
        body: nn.Module,
        finer: nn.Module,
        tail: nn.Module,
        mean: float = 0.0,
    ) -> None:
        super().__init__()
        self.head, self.body, self.finer, self.tail = head, body, finer, tail
        self._mean = mean

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, in_channels, *size) to (B, out_channels, *size x scale)."""
        shallow = self.head(images - self._mean)
        answer: Tensor = self.tail(self.finer(shallow + self.body(shallow)))
        return answer

    def begin_with_nothing(self) -> None:
        """Let the answer be 0 until something is learnt, for who adds it to what is there."""
        last = [module for module in self.modules() if isinstance(module, nn.Conv2d | nn.Conv3d)][
            -1
        ]
        nn.init.zeros_(last.weight)
        if last.bias is not None:
            nn.init.zeros_(last.bias)


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


def finer(
    spatial_dims: int,
    features: int,
    scale: int,
    *,
    out_channels: int | None = None,
    activated: bool = False,
) -> nn.Module:
    """Return steps from (B, features, *size) to (B, out_channels, *size x scale).

    Args:
        spatial_dims: 2 or 3.
        features: channels before the steps and between them.
        scale: 1, 2, 3 or 4; 4 is twice 2.
        out_channels: after the last step; None = as many as before.
        activated: whether a PReLU follows each step.

    Raises:
        ValueError: another scale.

    """
    if scale not in _STEPS:
        raise ValueError(f"scale is one of {', '.join(map(str, _STEPS))}, not {scale}")
    made: list[nn.Module] = []
    steps = _STEPS[scale]
    for number, step in enumerate(steps, 1):
        is_last = number == len(steps)
        after = (out_channels or features) if is_last else features
        # MONAI's own begins with weights so large that a network takes long to come down from them
        convolution = Conv[Conv.CONV, spatial_dims](
            features, after * step**spatial_dims, kernel_size=3, padding=1
        )
        made.append(
            SubpixelUpsample(
                spatial_dims,
                features,
                after,
                scale_factor=step,
                conv_block=convolution,
                apply_pad_pool=False,
            )
        )
        if activated:
            made.append(nn.PReLU())
    return nn.Sequential(*made)
