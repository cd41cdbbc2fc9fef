"""A task whose answers are known in closed form: a line through points, on whole numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.training import ranks, recipe
from pipeline.training.controls import Controls
from pipeline.training.recipe import Recipe
from tests import quick_training


@dataclass
class Line:
    """y = 2 x0 - x1 at eight points, two in each batch, learnt by least squares.

    ``steps`` is 4. The order of the batches turns by one with every epoch.
    """

    dropout: float = 0.0
    #: what the validation says, epoch by epoch; empty = the negative loss
    scores: list[float | None] = field(default_factory=list)

    def network(self) -> nn.Module:
        return nn.Sequential(nn.Dropout(self.dropout), nn.Linear(2, 1))

    def steps(self, epoch: int) -> int:
        del epoch
        return 4

    def batches(self, epoch: int, first: int) -> Iterator[tuple[Tensor, Tensor]]:
        inputs, targets = points()
        for step in range(first, 4):
            start = 2 * ((step + epoch) % 4)
            rows = torch.tensor(ranks.share([start, start + 1]))
            yield inputs[rows], targets[rows]

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        inputs, targets = batch
        return functional.mse_loss(network(inputs)[:, 0], targets)

    def score(self, network: nn.Module) -> float | None:
        if self.scores:
            return self.scores.pop(0)
        return -float(self.loss(network, points()))


def points() -> tuple[Tensor, Tensor]:
    """Return inputs (8, 2) and targets (8,)."""
    generator = torch.Generator().manual_seed(11)
    inputs = torch.randint(-3, 4, (8, 2), generator=generator).float()
    return inputs, 2.0 * inputs[:, 0] - inputs[:, 1]


def recipe_of(optimiser: dict[str, Any], **fields: Any) -> Recipe:
    """Return a recipe that optimises in this way; the rest of it matters to no line."""
    return recipe.check(quick_training.CLASSIFICATION | fields | {"optimiser": optimiser})


def controls(folder: Path) -> Controls:
    """Return controls that let a training run to its end."""
    return Controls(
        checkpoint=folder / "checkpoint",
        device=torch.device("cpu"),
        is_stopping=lambda: False,
        on_epoch=lambda _: None,
    )
