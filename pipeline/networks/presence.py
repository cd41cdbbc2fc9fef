"""Several series of one patient as the channels of an image, some of which may be missing.

What is missing is never read: it may hold anything, NaN included, and changes no result.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.networks.trunk import trunk


def seen(images: Tensor, present: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return images that are 0 where a series is missing, and which are there.

    Args:
        images: float (B, S, *spatial), a channel for each of S series.
        present: bool (B, S), True where the series is there; None where all are.

    Returns:
        float (B, S, *spatial) and bool (B, S).

    Raises:
        ValueError: ``present`` of another shape or type, or an image without any series.

    """
    if present is None:
        return images, torch.ones(images.shape[:2], dtype=torch.bool, device=images.device)
    if present.dtype != torch.bool or present.shape != images.shape[:2]:
        raise ValueError(f"which series are there takes {tuple(images.shape[:2])} truth values")
    if not present.any(1).all():
        raise ValueError("an image has no series at all")
    where = present.view(*present.shape, *[1] * (images.ndim - 2))
    return torch.where(where, images, 0.0), present


def shares(scores: Tensor, present: Tensor) -> Tensor:
    """Return by how much each series counts: the softmax of the scores of those that are there.

    Args:
        scores: float, of any shape that expands to (B, S).
        present: bool (B, S), in each row at least one.

    Returns:
        float (B, S): rows sum to 1, and what is missing has 0.

    """
    return scores.expand(present.shape).masked_fill(~present, float("-inf")).softmax(1)


class SeriesEncoders(nn.Module):
    """A convolutional trunk of its own for each series, and the mean of its last map."""

    def __init__(self, spatial_dims: int, series: int, features: Sequence[int]) -> None:
        """Build with fresh weights.

        Args:
            spatial_dims: 2 or 3.
            series: how many series there are.
            features: width of each convolution, which halves the resolution; the last is that of
                the vectors.

        Raises:
            ValueError: no features.

        """
        super().__init__()
        self.trunks = nn.ModuleList(trunk(spatial_dims, 1, features) for _ in range(series))

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, series, *spatial) to a vector for each series, (B, series, features[-1])."""
        maps = [encode(images[:, number : number + 1]) for number, encode in enumerate(self.trunks)]
        return torch.stack([each.flatten(2).mean(2) for each in maps], 1)
