"""A task around another one: all that it does not say otherwise is as the inner one says it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from pipeline.training.task import BeginsEpochs, FollowsSteps, Loss, Task, Turn, turns


@dataclass(frozen=True, kw_only=True)
class Wrapping:
    """Passes everything on."""

    inner: Task

    def network(self) -> nn.Module:
        """Return the network of the inner task."""
        return self.inner.network()

    def steps(self, epoch: int) -> int:
        """Return how many batches this epoch has."""
        return self.inner.steps(epoch)

    def batches(self, epoch: int, first: int) -> Iterator[Any]:
        """Yield the batches of the inner task."""
        return self.inner.batches(epoch, first)

    def loss(self, network: nn.Module, batch: Any) -> Loss:
        """Return the loss of the inner task."""
        return self.inner.loss(network, batch)

    def turns(self, network: nn.Module) -> Sequence[Turn]:
        """Let the inner task take its turns; where it takes one, learn from this task's loss."""
        inner = turns(self.inner, network)
        return inner if len(inner) > 1 else [Turn(parameters=inner[0].parameters, loss=self.loss)]

    def score(self, network: nn.Module) -> float | None:
        """Return the validation score of the inner task."""
        return self.inner.score(network)

    def begin_epoch(self, network: nn.Module, epoch: int) -> None:
        """Let the inner task set up its network."""
        if isinstance(self.inner, BeginsEpochs):
            self.inner.begin_epoch(network, epoch)

    def after_step(self, network: nn.Module) -> None:
        """Let the inner task look after its network."""
        if isinstance(self.inner, FollowsSteps):
            self.inner.after_step(network)


def total(loss: Loss) -> Tensor:
    """Return a loss as one number."""
    if isinstance(loss, Mapping):
        return sum(loss.values(), start=next(iter(loss.values())).new_zeros(()))
    return loss


def named(loss: Loss, name: str) -> dict[str, Tensor]:
    """Return the parts of a loss by their names; one that has no parts is called ``name``."""
    return dict(loss) if isinstance(loss, Mapping) else {name: loss}
