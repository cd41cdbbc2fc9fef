"""A classifier of bags of instances that says how much each instance counts.

Ilse, Tomczak and Welling, "Attention-based Deep Multiple Instance Learning", ICML 2018
(arXiv 1802.04712).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.networks.frames import FrameEncoder
from pipeline.networks.trunk import DEFAULT_FEATURES


class AttentionPooling(nn.Module):
    """The mean of a bag's vectors, weighted by attention: ``softmax(w tanh(V h))`` over the bag.

    Gated, ``tanh(V h)`` is multiplied by ``sigmoid(U h)`` (equations 8 and 9 of the paper).
    """

    def __init__(self, features: int, hidden: int, *, gated: bool) -> None:
        super().__init__()
        self.value = nn.Linear(features, hidden, bias=False)
        self.gate = nn.Linear(features, hidden, bias=False) if gated else None
        self.weight = nn.Linear(hidden, 1, bias=False)

    def forward(self, vectors: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Pool a bag.

        Args:
            vectors: float (N, K, F), finite also where nothing is there.
            mask: bool (N, K), True where there is an instance, in each bag at least one; None where
                all are.

        Returns:
            The pooled vectors (N, F), and the attention (N, K): it sums to 1 over each bag and is 0
            where nothing is there.

        """
        scored = self.value(vectors).tanh()
        if self.gate is not None:
            scored = scored * self.gate(vectors).sigmoid()
        scores = self.weight(scored).squeeze(2)
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        attention = scores.softmax(1)
        return torch.einsum("nk,nkf->nf", attention, vectors), attention


class AttentionMIL(nn.Module):
    """A convolutional trunk for each instance, attention over the bag, a dense layer.

    The order of instances does not matter. Of a volume the instances are the slices along its first
    spatial axis.
    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        features: Sequence[int] = DEFAULT_FEATURES,
        hidden: int = 64,
        gated: bool = True,
    ) -> None:
        """Build with fresh weights.

        Args:
            spatial_dims: axes of the input, the bag among them: 3 for slices of a volume.
            in_channels: channels of an instance.
            out_channels: classes.
            features: width of each convolution, which halves an instance's resolution.
            hidden: width of the attention.
            gated: whether attention is gated.

        Raises:
            ValueError: no features.

        """
        super().__init__()
        self.encoder = FrameEncoder(spatial_dims - 1, in_channels, features)
        self.pooling = AttentionPooling(features[-1], hidden, gated=gated)
        self.head = nn.Linear(features[-1], out_channels)

    def forward(self, volumes: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (N, in_channels, K, *spatial) to logits (N, out_channels).

        Args:
            volumes: float (N, in_channels, K, *spatial).
            mask: bool (N, K), True where there is an instance; None where all are.

        Raises:
            ValueError: a mask of another shape or type, or a bag without an instance.

        """
        return self.attend(volumes.transpose(1, 2), mask)[0]

    def attend(self, bags: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map (N, K, in_channels, *spatial) to logits and the attention (N, K) of the instances.

        Raises:
            ValueError: as ``forward``.

        """
        pooled, attention = self.pooling(self.encoder(bags, mask), mask)
        return self.head(pooled), attention
