"""Joint fusion: each series becomes a vector, and one classifier reads what they say together.

The mean over the series that are there: Havaei et al., "HeMIS: Hetero-Modal Image Segmentation",
MICCAI 2016. Attention over them: Ilse et al., "Attention-based Deep Multiple Instance Learning",
ICML 2018. The words: Huang et al., npj Digital Medicine 3 (2020) 136.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.networks.attention_mil import AttentionPooling
from pipeline.networks.presence import SeriesEncoders, seen, shares
from pipeline.networks.trunk import DEFAULT_FEATURES


class JointFusion(nn.Module):
    """A trunk for each series, the mean of their vectors or attention over them, dense layers.

    Args:
        spatial_dims: 2 or 3.
        in_channels: series.
        out_channels: classes.
        features: width of each convolution, which halves the resolution.
        pooling: how the vectors of the series that are there become one: "mean" or "attention".
        hidden: width of the attention, and of the dense layer before the last.

    Raises:
        ValueError: no features, or another pooling.

    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        features: Sequence[int] = DEFAULT_FEATURES,
        pooling: Literal["mean", "attention"] = "attention",
        hidden: int = 64,
    ) -> None:
        super().__init__()
        if pooling not in ("mean", "attention"):
            raise ValueError("pooling is mean or attention")
        self.encoders = SeriesEncoders(spatial_dims, in_channels, features)
        width = features[-1]
        self.attention = (
            AttentionPooling(width, hidden, gated=True) if pooling == "attention" else None
        )
        self.head = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, out_channels)
        )

    def forward(self, images: Tensor, present: Tensor | None = None) -> Tensor:
        """Map (B, in_channels, *spatial), of any size, to logits (B, out_channels).

        Args:
            images: float (B, in_channels, *spatial).
            present: bool (B, in_channels), True where the series is there; None where all are.

        Raises:
            ValueError: ``present`` of another shape or type, or an image without any series.

        """
        images, present = seen(images, present)
        logits: Tensor = self.head(self._joined(self.encoders(images), present))
        return logits

    def _joined(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Map (B, S, F) to (B, F), by the series that are there."""
        if self.attention is not None:
            pooled: Tensor = self.attention(vectors, present)[0]
            return pooled
        equal = shares(vectors.new_zeros(()), present)
        return torch.einsum("bs,bsf->bf", equal, vectors)
