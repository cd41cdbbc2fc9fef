"""A classifier that looks where it matters: attention gates on the finer maps of its trunk.

Schlemper et al., "Attention gated networks: Learning to leverage salient regions in medical
images", Medical Image Analysis 53 (2019) 197-207: the gates of its Sononet, here in two or three
dimensions. The gating signal is brought to the finer grid by nearest neighbours, not linearly, as
torch has no deterministic gradient of the latter on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks.trunk import DEFAULT_FEATURES, trunk


class AttentionGate(nn.Module):
    """One vector of a fine map: its mean, weighted by how well each place fits a coarse map.

    The fit is additive, ``psi relu(W_x x + W_g g + b)``; its least value taken away and divided by
    the sum, it is the attention.
    """

    def __init__(self, spatial_dims: int, channels: int, gating_channels: int) -> None:
        super().__init__()
        pointwise = Conv[Conv.CONV, spatial_dims]
        self.fine = pointwise(channels, channels, 1, bias=False)
        self.gating = pointwise(gating_channels, channels, 1)
        # a bias would be taken away with the least value
        self.fit = pointwise(channels, 1, 1, bias=False)

    def forward(self, features: Tensor, gating: Tensor) -> tuple[Tensor, Tensor]:
        """Attend.

        Args:
            features: float (N, channels, *spatial), the fine map.
            gating: float (N, gating_channels, *coarser).

        Returns:
            The attended vectors (N, channels), and the attention (N, *spatial), from 0 on, which
            sums to 1 over each map. Where all places fit alike it is the same everywhere.

        """
        coarse = functional.interpolate(self.gating(gating), features.shape[2:])
        fit = self.fit((self.fine(features) + coarse).relu()).flatten(1)
        above = fit - fit.amin(1, keepdim=True) + torch.finfo(fit.dtype).eps
        # means and not sums over the places, which are too many for numbers of half precision
        weights = above / above.mean(1, keepdim=True)
        attended = (weights[:, None] * features.flatten(2)).mean(2)
        return attended, weights.reshape(len(fit), *features.shape[2:]) / fit.shape[1]


class AttentionGatedNet(nn.Module):
    """A convolutional trunk, gates on its maps before the coarsest, a dense layer over all."""

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        features: Sequence[int] = DEFAULT_FEATURES,
        gates: int = 2,
    ) -> None:
        """Build with fresh weights.

        Args:
            spatial_dims: 2 or 3.
            in_channels: channels of the image.
            out_channels: classes.
            features: width of each convolution, which halves the resolution.
            gates: maps before the coarsest that are attended to.

        Raises:
            ValueError: no gate, or more than there are maps before the coarsest.

        """
        super().__init__()
        if not 1 <= gates < len(features):
            raise ValueError("gates lies between 1 and the number of features less one")
        gated, coarsest = features[-1 - gates : -1], features[-1]
        self.trunk = trunk(spatial_dims, in_channels, features)
        self.gates = nn.ModuleList(
            AttentionGate(spatial_dims, channels, coarsest) for channels in gated
        )
        self.head = nn.Linear(sum(gated) + coarsest, out_channels)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, in_channels, *spatial), of any size, to logits (N, out_channels)."""
        return self.attend(images)[0]

    def attend(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Map images to logits and the attention (N, *spatial) on each gated map, finest first."""
        maps = []
        for block in self.trunk:
            images = block(images)
            maps.append(images)
        *finer, coarsest = maps[-1 - len(self.gates) :]
        attended = [gate(fine, coarsest) for gate, fine in zip(self.gates, finer, strict=True)]
        vectors = [vector for vector, _ in attended] + [coarsest.flatten(2).mean(2)]
        return self.head(torch.cat(vectors, 1)), [attention for _, attention in attended]
