"""The training loop: deterministic, and resumable to the bit on the same device kind.

What a step sees is a pure function of (seed, epoch, position): the order of the cases, the patch
drawn from each and how it is changed. So a checkpoint needs the position and the state of what
learns, and a training that was killed goes on as if nothing had happened.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.errors import Interrupted, TrainingRefused
from pipeline.reasons import Reason
from pipeline.training.checkpoint import Progress, State, Weights
from pipeline.training.recipe import Recipe


class Task(Protocol):
    """What one kind of model adds to the loop."""

    def network(self) -> nn.Module:
        """Return the network with fresh weights."""

    def steps(self, epoch: int) -> int:
        """Return how many batches this epoch has."""

    def batches(self, epoch: int, first: int) -> Iterator[Any]:
        """Yield the batches of an epoch from position ``first`` on."""

    def loss(self, network: nn.Module, batch: Any) -> Tensor:
        """Return the loss of one batch, a scalar."""

    def score(self, network: nn.Module) -> float | None:
        """Return the validation score, larger is better; None without a validation part."""


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """What is said after each epoch."""

    epoch: int
    epochs: int
    loss: float
    score: float | None
    best_score: float | None
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class Controls:
    """How the loop talks to whoever runs it."""

    checkpoint: Path
    device: torch.device
    #: asked after each step; True = write a checkpoint and raise ``Interrupted``
    is_stopping: Callable[[], bool]
    on_epoch: Callable[[EpochReport], None]


def make_deterministic(seed: int) -> None:
    """Fix every source of chance in this process, as far as the device kind allows."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - MONAI draws from the global generator in places
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    torch.backends.cudnn.benchmark = False


def train(task: Task, recipe: Recipe, digest: str, controls: Controls) -> tuple[Weights, Progress]:
    """Train, or go on from the checkpoint, and return the weights of the best epoch.

    ``digest`` names recipe and snapshot: a checkpoint of anything else is refused.

    Raises:
        TrainingRefused: the loss is not finite (``training.diverged``), or the checkpoint belongs
            to another recipe or snapshot.
        Interrupted: asked to stop; the checkpoint is written.

    """
    make_deterministic(recipe.seed)
    network = task.network().to(controls.device)
    optimiser = _optimiser(network, recipe)
    scheduler = _scheduler(optimiser, recipe)
    state = State(network, optimiser, scheduler, digest)
    if controls.checkpoint.exists():
        state.restore(controls.checkpoint, controls.device)
    done = state.progress
    while done.epoch < recipe.epochs and not done.is_stopped:
        network.train()
        for batch in task.batches(done.epoch, done.step):
            done.loss_sum += _learn(task, network, optimiser, batch, recipe)
            done.step += 1
            if controls.is_stopping():
                state.save(controls.checkpoint)
                sentence = "asked to stop; the training goes on from its checkpoint"
                raise Interrupted(sentence)
        report = _finish_epoch(task, recipe, state)
        state.save(controls.checkpoint)
        controls.on_epoch(report)
    return state.best, done


def _learn(
    task: Task, network: nn.Module, optimiser: torch.optim.Optimizer, batch: Any, recipe: Recipe
) -> float:
    optimiser.zero_grad(set_to_none=True)
    loss = task.loss(network, batch)
    value = float(loss.detach())
    if not math.isfinite(value):
        sentence = "the loss is no longer a finite number; try a lower learning rate"
        raise TrainingRefused(sentence, Reason.TRAINING_DIVERGED)
    loss.backward()  # type: ignore[no-untyped-call]
    if recipe.optimiser.clip is not None:
        nn.utils.clip_grad_norm_(network.parameters(), recipe.optimiser.clip)
    optimiser.step()
    return value


def _finish_epoch(task: Task, recipe: Recipe, state: State) -> EpochReport:
    """Validate, keep the best weights, decide on stopping, step the learning rate."""
    done = state.progress
    loss = done.loss_sum / max(task.steps(done.epoch), 1)
    rate = float(state.optimiser.param_groups[0]["lr"])
    done.losses.append(loss)
    done.epoch, done.step, done.loss_sum = done.epoch + 1, 0, 0.0
    is_last = done.epoch == recipe.epochs
    score = None
    if is_last or done.epoch % recipe.validate_every == 0:
        state.network.eval()
        with torch.inference_mode():
            score = task.score(state.network)
        state.network.train()
    if score is not None and (done.best_score is None or score > done.best_score):
        done.best_score, done.best_epoch = score, done.epoch
        state.keep_best()
    if is_last and done.best_score is None:  # no validation part: the last epoch stands
        done.best_epoch = done.epoch
        state.keep_best()
    patience = recipe.early_stopping.patience if recipe.early_stopping else None
    done.is_stopped = patience is not None and done.epoch - done.best_epoch >= patience
    state.scheduler.step()
    return EpochReport(
        epoch=done.epoch,
        epochs=recipe.epochs,
        loss=loss,
        score=score,
        best_score=done.best_score,
        learning_rate=rate,
    )


def _optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    wanted = recipe.optimiser
    if wanted.name == "sgd":
        return torch.optim.SGD(
            network.parameters(),
            lr=wanted.learning_rate,
            momentum=0.9,
            nesterov=True,
            weight_decay=wanted.weight_decay,
        )
    return torch.optim.AdamW(
        network.parameters(), lr=wanted.learning_rate, weight_decay=wanted.weight_decay
    )


def _scheduler(
    optimiser: torch.optim.Optimizer, recipe: Recipe
) -> torch.optim.lr_scheduler.LRScheduler:
    if recipe.optimiser.schedule == "constant":
        return torch.optim.lr_scheduler.ConstantLR(optimiser, factor=1.0, total_iters=0)
    return torch.optim.lr_scheduler.CosineAnnealingLR(
        optimiser, T_max=recipe.epochs, eta_min=recipe.optimiser.learning_rate / 100
    )
