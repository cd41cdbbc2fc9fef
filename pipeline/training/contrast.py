"""Contrast: two views of one image shall be told by each other, and apart from all other images.

Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations" (SimCLR),
ICML 2020. ``pretraining.augmentation`` makes the views, or else that of the training: they have to
differ enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.training.pretext import Pretext, answering_with
from pipeline.training.recipe import Recipe


class Projector(nn.Module):
    """The network of a recipe, its last layer the first of two that project."""

    def __init__(self, recipe: Recipe, projection: int) -> None:
        super().__init__()
        self.encoder = answering_with(recipe, 2 * projection)
        self.head = nn.Linear(2 * projection, projection)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, channels, *size) to vectors (B, projection) of length 1, in float32.

        What stands for each voxel is averaged over them. Also where precision is mixed, since in
        bfloat16 a length is known to three digits only.
        """
        answers: Tensor = self.encoder(images)
        vectors = self.head(
            answers.flatten(2).mean(2).relu() if answers.ndim > 2 else answers.relu()
        )
        return functional.normalize(vectors.float())


@dataclass(frozen=True, kw_only=True)
class Contrast(Pretext):
    """A task whose batches are two views of each image, (B, channels, *size) both."""

    def network(self) -> nn.Module:
        """Return the network of the recipe, made to project."""
        return Projector(self.recipe, self.wanted.projection)

    def batches(self, epoch: int, first: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield two views of each image, moved and varied apart from each other."""
        for place, chosen in self.in_batches(epoch, first):
            random = self.views.random(epoch, place)
            yield self.views.pairs(chosen, random, is_aligned=False)

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return how badly views are told by each other."""
        first, second = network(torch.cat(batch)).chunk(2)
        return normalised_cross_entropy(first, second, self.wanted.temperature)


def normalised_cross_entropy(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return SimCLR's loss (NT-Xent) of vectors (B, n) of length 1; row i of both is one image.

    In their precision, also where that is mixed: bfloat16 knows likenesses to three digits only.
    """
    every = torch.cat([first, second])
    count = len(first)
    itself = torch.eye(2 * count, dtype=torch.bool, device=every.device)
    with torch.autocast(every.device.type, enabled=False):
        likeness = (every @ every.T / temperature).masked_fill(itself, -torch.inf)
    partner = torch.arange(2 * count, device=every.device).roll(count)
    return functional.cross_entropy(likeness, partner)
