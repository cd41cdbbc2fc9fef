"""Late fusion: each series has a classifier of its own, and their logits are averaged.

Huang et al., "Fusion of medical imaging and electronic health records using deep learning: a
systematic review and implementation guidelines", npj Digital Medicine 3 (2020) 136.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.networks.presence import SeriesEncoders, seen, shares
from pipeline.networks.trunk import DEFAULT_FEATURES


class LateFusion(nn.Module):
    """A trunk and a dense layer for each series; the mean of the logits of those that are there.

    Args:
        spatial_dims: 2 or 3.
        in_channels: series.
        out_channels: classes.
        features: width of each convolution, which halves the resolution.
        weighting: whether all series count alike ("equal") or by a learned share ("learned"), which
            the softmax over those that are there makes sum to 1.

    Raises:
        ValueError: no features, or another weighting.

    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        features: Sequence[int] = DEFAULT_FEATURES,
        weighting: Literal["equal", "learned"] = "learned",
    ) -> None:
        super().__init__()
        if weighting not in ("equal", "learned"):
            raise ValueError("weighting is equal or learned")
        self.encoders = SeriesEncoders(spatial_dims, in_channels, features)
        self.heads = nn.ModuleList(
            nn.Linear(features[-1], out_channels) for _ in range(in_channels)
        )
        is_learned = weighting == "learned"
        self.scores = nn.Parameter(torch.zeros(in_channels)) if is_learned else None

    def forward(self, images: Tensor, present: Tensor | None = None) -> Tensor:
        """Map (B, in_channels, *spatial), of any size, to logits (B, out_channels).

        Args:
            images: float (B, in_channels, *spatial).
            present: bool (B, in_channels), True where the series is there; None where all are.

        Raises:
            ValueError: ``present`` of another shape or type, or an image without any series.

        """
        images, present = seen(images, present)
        vectors = self.encoders(images).unbind(1)
        logits = [head(vector) for head, vector in zip(self.heads, vectors, strict=True)]
        scores = images.new_zeros(()) if self.scores is None else self.scores
        return torch.einsum("bs,bsc->bc", shares(scores, present), torch.stack(logits, 1))
