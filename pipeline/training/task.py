"""What one kind of model adds to the loop.

Most tasks are a ``Task`` and no more. A task may also be one that ``TakesTurns`` (a generator and
its critic), that ``BeginsEpochs`` (stages that thaw) or that ``FollowsSteps`` (a teacher that is
the average of its student); the loop asks for each by its methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

#: a scalar, or named scalars that are summed and told apart in every report
Loss = Tensor | Mapping[str, Tensor]


class Task(Protocol):
    """What every kind of model adds to the loop."""

    def network(self) -> nn.Module:
        """Return the network with fresh weights."""

    def steps(self, epoch: int) -> int:
        """Return how many batches this epoch has."""

    def batches(self, epoch: int, first: int) -> Iterator[Any]:
        """Yield the batches of an epoch from position ``first`` on."""

    def loss(self, network: nn.Module, batch: Any) -> Loss:
        """Return the loss of one batch."""

    def score(self, network: nn.Module) -> float | None:
        """Return the validation score, larger is better; None without a validation part."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Some of the parameters, and the loss that they alone learn from."""

    #: empty for the one turn of an ordinary task; else what its losses are reported under
    name: str = ""
    parameters: Sequence[nn.Parameter]
    loss: Callable[[nn.Module, Any], Loss]


@runtime_checkable
class TakesTurns(Protocol):
    """A task whose network holds parts that learn one after the other in every step.

    Each turn has an optimiser and a schedule of its own, and each sees the weights that the turns
    before it have left. Its gradients reach its own parameters only, so nothing needs to be
    frozen by hand. ``Task.loss`` is not asked.
    """

    def turns(self, network: nn.Module) -> Sequence[Turn]:
        """Return the turns of a step in their order; the rate of the first is the one reported."""


@runtime_checkable
class BeginsEpochs(Protocol):
    """A task that sets its network up for each epoch."""

    def begin_epoch(self, network: nn.Module, epoch: int) -> None:
        """Set up a network in training mode. Called again for the epoch that is gone on with."""


@runtime_checkable
class FollowsSteps(Protocol):
    """A task that looks after its network once the weights have moved."""

    def after_step(self, network: nn.Module) -> None:
        """Change what does not learn by gradients; it must be kept in the state of the network."""


def turns(task: Task, network: nn.Module) -> Sequence[Turn]:
    """Return the turns of each step: for most tasks one, in which everything learns."""
    if isinstance(task, TakesTurns):
        return task.turns(network)
    return [Turn(parameters=[*network.parameters()], loss=task.loss)]
