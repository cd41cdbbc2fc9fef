"""Masked images: blocks of an image are hidden, and the network says what is there.

He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022. Hidden voxels are seen
as 0, the head is one layer and the error is the absolute one, as in Xie et al., "SimMIM: A Simple
Framework for Masked Image Modeling", CVPR 2022, so that convolutional networks can learn by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.networks.layers.factories import Conv
from monai.networks.utils import pixelshuffle
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models import networks
from pipeline.training.features import LastMap
from pipeline.training.pretext import Pretext, answering_with
from pipeline.training.recipe import Recipe


class WholeRestorer(nn.Module):
    """The network of a recipe that answers for whole images, with a head on its feature map."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.encoder = networks.build(recipe.network.name, recipe.network.arguments)
        self._size, channels = recipe.input.size, recipe.input.channels
        self._features = LastMap(self.encoder, (channels, *self._size))
        features, *coarse = self._features.shape
        dims = len(self._size)
        self._factor = max(-(-n // have) for n, have in zip(self._size, coarse, strict=True))
        self.head: nn.Module = Conv[Conv.CONV, dims](
            features, channels * self._factor**dims, kernel_size=1
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, channels, *size) to the same shape."""
        fine = pixelshuffle(self.head(self._features(images)), len(self._size), self._factor)
        return functional.interpolate(fine, self._size)


class VoxelRestorer(nn.Module):
    """The network of a recipe that answers for each voxel, here with its value."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.encoder = answering_with(recipe, recipe.input.channels)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, channels, *size) to the same shape."""
        answer: Tensor = self.encoder(images)
        return answer


@dataclass(frozen=True, kw_only=True)
class MaskedImages(Pretext):
    """A task whose batches are images (B, channels, *size) and what is hidden (B, 1, *size)."""

    def network(self) -> nn.Module:
        """Return the network of the recipe, made to restore.

        Raises:
            NoFeatureMap: it answers for whole images, but not by way of feature maps.

        """
        is_whole = self.recipe.kind == "classification"
        return WholeRestorer(self.recipe) if is_whole else VoxelRestorer(self.recipe)

    def batches(self, epoch: int, first: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images, and which of their voxels are hidden (bool)."""
        for place, chosen in self.in_batches(epoch, first):
            random = self.views.random(epoch, place)
            images = self.views.single(chosen, random)
            hidden = [
                hidden_blocks(self.recipe.input.size, self.wanted.block, self.wanted.masked, random)
                for _ in images
            ]
            yield images, torch.stack(hidden)[:, None].to(images.device)

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the mean absolute error of what is hidden."""
        images, hidden = batch
        errors = (network(images.masked_fill(hidden, 0.0)) - images).abs() * hidden
        mean: Tensor = errors.sum() / (hidden.sum() * images.shape[1])
        return mean


def hidden_blocks(
    size: Sequence[int], block: int, share: float, random: np.random.Generator
) -> Tensor:
    """Choose blocks of ``block`` voxels along each axis: bool, of this size.

    So many blocks as their share comes to, rounded; at least one, and not all.
    """
    grid = [-(-extent // block) for extent in size]
    count = int(np.prod(grid))
    hidden = np.zeros(count, bool)
    hidden[random.permutation(count)[: min(max(1, round(share * count)), max(1, count - 1))]] = True
    blocks = hidden.reshape(grid)
    for axis in range(len(size)):
        blocks = blocks.repeat(block, axis)
    return torch.from_numpy(blocks[tuple(slice(extent) for extent in size)].copy())
