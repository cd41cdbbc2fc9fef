"""FiLM: values of a table, such as age or a laboratory finding, bear on how an image is read.

Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer", AAAI 2018: each map of a
convolutional trunk is scaled and shifted, channel by channel, by what a small network makes of the
values. As there, what is learned is the scale's difference from 1, and it begins with 0: a fresh
network reads the image alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.networks.trunk import DEFAULT_FEATURES, convolution


class FiLMNet(nn.Module):
    """A convolutional trunk whose maps are modulated by values of a table, and a dense layer.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: classes.
        values: how many values of the table there are; they should be standardised, so that 0 is
            their mean and 1 their standard deviation.
        features: width of each convolution, which halves the resolution.
        hidden: width of the layer between the values and the modulation.

    Raises:
        ValueError: no features, or no value.

    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        values: int,
        features: Sequence[int] = DEFAULT_FEATURES,
        hidden: int = 32,
    ) -> None:
        super().__init__()
        if not features or values < 1:
            raise ValueError("FiLM needs a width of features and a value of a table at least")
        widths = zip([in_channels, *features], features, strict=False)
        self.trunk = nn.ModuleList(
            convolution(spatial_dims, before, after, stride=2, activated=False)
            for before, after in widths
        )
        self.table = nn.Sequential(nn.Linear(2 * values, hidden), nn.ReLU())
        self.modulations = nn.ModuleList(nn.Linear(hidden, 2 * width) for width in features)
        for modulation in self.modulations:
            for parameter in modulation.parameters():
                nn.init.zeros_(parameter)
        self.head = nn.Linear(features[-1], out_channels)
        self._values = values

    def forward(
        self, images: Tensor, values: Tensor | None = None, known: Tensor | None = None
    ) -> Tensor:
        """Map images (B, in_channels, *spatial), of any size, to logits (B, out_channels).

        Args:
            images: float (B, in_channels, *spatial).
            values: float (B, values); None where none is known of any image.
            known: bool (B, values), True where the value is known; None where all are. What is not
                known is never read: it may hold anything, NaN included.

        Raises:
            ValueError: values or ``known`` of another shape or type.

        """
        said = self.table(self._said(images, values, known))
        for convolve, modulation in zip(self.trunk, self.modulations, strict=True):
            images = modulated(convolve(images), modulation(said)).relu()
        logits: Tensor = self.head(images.flatten(2).mean(2))
        return logits

    def _said(self, images: Tensor, values: Tensor | None, known: Tensor | None) -> Tensor:
        """Return values, 0 where they are not known, and which are: (B, 2 * values)."""
        shape = (len(images), self._values)
        if values is None:
            return images.new_zeros(shape[0], 2 * shape[1])
        if known is None:
            known = torch.ones_like(values, dtype=torch.bool)
        if values.shape != shape or known.shape != shape or known.dtype != torch.bool:
            raise ValueError(f"{shape} values are needed, and as many truth values where given")
        return torch.cat([torch.where(known, values, 0.0), known.to(values.dtype)], 1)


def modulated(features: Tensor, modulation: Tensor) -> Tensor:
    """Scale and shift each channel of a map.

    Args:
        features: float (B, C, *spatial).
        modulation: float (B, 2 C): by how much the scales differ from 1, then the shifts.

    Returns:
        float (B, C, *spatial).

    """
    scale, shift = modulation.view(*modulation.shape, *[1] * (features.ndim - 2)).chunk(2, 1)
    return features * (1 + scale) + shift
