"""How the loop talks to whoever runs it: what it asks, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.training.checkpoint import Epoch


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What is said whenever the weights have moved."""

    #: that are done
    epoch: int
    epochs: int
    step: int
    steps: int
    #: of the last batch, by name
    losses: dict[str, float]
    #: learnt from since the last of these reports
    cases: int


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """What is said after each epoch."""

    epoch: int
    epochs: int
    #: batches of this epoch
    steps: int
    best_score: float | None
    #: of every epoch so far, this one last
    history: Sequence[Epoch]


@dataclass(frozen=True, kw_only=True)
class Controls:
    """How the loop talks to whoever runs it."""

    checkpoint: Path
    device: torch.device
    #: asked after each step; True = write a checkpoint and raise ``Interrupted``
    is_stopping: Callable[[], bool]
    on_epoch: Callable[[EpochReport], None]
    #: asked after each step; True = write a checkpoint and go on. One is written after each epoch
    is_due: Callable[[], bool] = lambda: False
    on_step: Callable[[StepReport], None] = lambda _: None
    #: seconds, from anywhere; what a budget is counted by
    clock: Callable[[], float] = lambda: 0.0
