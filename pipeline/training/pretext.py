"""What the methods share that learn from images alone, before a training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from torch import nn

from pipeline.models import networks
from pipeline.training.fields import PretrainingField
from pipeline.training.recipe import Recipe
from pipeline.training.views import Chosen, Views

#: what the network of a pretext calls the network of the recipe within it
ENCODER: Final = "encoder."


@dataclass(frozen=True, kw_only=True)
class Pretext:
    """Images in batches, each once per epoch, and nothing that weights are chosen by."""

    wanted: PretrainingField
    views: Views

    @property
    def recipe(self) -> Recipe:
        """Return the recipe of the training that comes after."""
        return self.views.recipe

    def steps(self, epoch: int) -> int:
        """Return how many batches this epoch has."""
        return len(self.views.in_batches(epoch, self.wanted.batch))

    def score(self, network: nn.Module) -> None:
        """Say nothing of the validation part: the last epoch stands."""
        del network

    def in_batches(self, epoch: int, first: int) -> Iterator[tuple[int, Chosen]]:
        """Yield place and images of each batch from position ``first`` on."""
        every = self.views.in_batches(epoch, self.wanted.batch)
        yield from list(enumerate(every))[first:]


def answering_with(recipe: Recipe, outputs: int) -> nn.Module:
    """Return the network of a recipe with fresh weights and so many outputs."""
    row = networks.TABLE[recipe.network.name]
    arguments = {**recipe.network.arguments, row.outputs: outputs}
    return networks.build(recipe.network.name, arguments)
