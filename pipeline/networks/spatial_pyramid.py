"""A classifier that takes images of any size: spatial pyramid pooling before its only dense layer.

He, Zhang, Ren and Sun, "Spatial Pyramid Pooling in Deep Convolutional Networks for Visual
Recognition", ECCV 2014 (arXiv 1406.4729); here in two or three dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.networks.trunk import DEFAULT_FEATURES, trunk

DEFAULT_LEVELS = (1, 2, 4)


class SpatialPyramidPooling(nn.Module):
    """The largest value of each channel in each bin of several grids over the whole map."""

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        if not levels or min(levels) < 1:
            raise ValueError("levels needs a number of bins at least, each from 1")
        self.levels = tuple(levels)

    def bins(self, spatial_dims: int) -> int:
        """Return how many values a channel is pooled to."""
        return sum(level**spatial_dims for level in self.levels)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, *spatial) to (N, C x bins).

        Level follows level; within one the last spatial axis runs fastest and the channel slowest.
        Bin ``i`` of ``n`` over ``extent`` voxels goes from the floor of ``i x extent / n`` to the
        ceiling of ``(i + 1) x extent / n``: bins overlap rather than leave a voxel out or be empty.
        """
        pooled = [_pooled(features, level).flatten(1) for level in self.levels]
        return torch.cat(pooled, 1)


def _pooled(features: Tensor, bins: int) -> Tensor:
    """Pool axis by axis: torch's adaptive pooling has no deterministic gradient on a GPU."""
    for axis in range(2, features.ndim):
        extent = features.shape[axis]
        parts = []
        for number in range(bins):
            first, end = number * extent // bins, -(-(number + 1) * extent // bins)
            parts.append(features.narrow(axis, first, end - first).amax(axis))
        features = torch.stack(parts, axis)
    return features


class SPPNet(nn.Module):
    """A convolutional trunk, spatial pyramid pooling and a dense layer."""

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        features: Sequence[int] = DEFAULT_FEATURES,
        levels: Sequence[int] = DEFAULT_LEVELS,
        dropout: float = 0.0,
    ) -> None:
        """Build with fresh weights.

        Args:
            spatial_dims: 2 or 3.
            in_channels: channels of the image.
            out_channels: classes.
            features: width of each convolution, which halves the resolution.
            levels: bins along each axis, of each grid of the pyramid.
            dropout: share of pooled values left out in training.

        Raises:
            ValueError: no features, or levels that are none.

        """
        super().__init__()
        self.trunk = trunk(spatial_dims, in_channels, features)
        self.pooling = SpatialPyramidPooling(levels)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features[-1] * self.pooling.bins(spatial_dims), out_channels)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, in_channels, *spatial), of any size, to logits (N, out_channels)."""
        logits: Tensor = self.head(self.dropout(self.pooling(self.trunk(images))))
        return logits
