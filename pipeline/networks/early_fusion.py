"""Early fusion: series are joined as channels before anything is learned of them.

Huang et al., "Fusion of medical imaging and electronic health records using deep learning: a
systematic review and implementation guidelines", npj Digital Medicine 3 (2020) 136, has the words
early, joint and late fusion.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.networks.presence import seen
from pipeline.networks.trunk import DEFAULT_FEATURES, trunk


class EarlyFusion(nn.Module):
    """One trunk over all series, 0 where one is missing, and over channels that say which are.

    Args:
        spatial_dims: 2 or 3.
        in_channels: series.
        out_channels: classes.
        features: width of each convolution, which halves the resolution.

    Raises:
        ValueError: no features.

    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        features: Sequence[int] = DEFAULT_FEATURES,
    ) -> None:
        super().__init__()
        self.trunk = trunk(spatial_dims, 2 * in_channels, features)
        self.head = nn.Linear(features[-1], out_channels)

    def forward(self, images: Tensor, present: Tensor | None = None) -> Tensor:
        """Map (B, in_channels, *spatial), of any size, to logits (B, out_channels).

        Args:
            images: float (B, in_channels, *spatial).
            present: bool (B, in_channels), True where the series is there; None where all are.

        Raises:
            ValueError: ``present`` of another shape or type, or an image without any series.

        """
        images, present = seen(images, present)
        said = present.view(*present.shape, *[1] * (images.ndim - 2)).expand_as(images)
        features: Tensor = self.trunk(torch.cat([images, said.to(images.dtype)], 1))
        logits: Tensor = self.head(features.flatten(2).mean(2))
        return logits
