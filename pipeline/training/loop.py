"""The training loop: deterministic, and resumable to the bit on the same device kind.

What a step sees is a pure function of (seed, epoch, position): the order of the cases, the patch
drawn from each and how it is changed. So a checkpoint needs the position and the state of what
learns, and a training that was killed goes on as if nothing had happened.
"""

from __future__ import annotations

import math
import os
import random

import numpy as np
import torch
from torch import nn

from pipeline.errors import Interrupted, TrainingRefused
from pipeline.models.devices import settle_vector_math
from pipeline.reasons import Reason
from pipeline.training import ranks
from pipeline.training.budget import Stopwatch
from pipeline.training.checkpoint import Epoch, Progress, State, Weights
from pipeline.training.controls import Controls, EpochReport, StepReport
from pipeline.training.optimisation import Optimisation
from pipeline.training.recipe import Recipe
from pipeline.training.task import BeginsEpochs, FollowsSteps, Task, turns


def make_deterministic(seed: int) -> None:
    """Fix every source of chance in this process, as far as the device kind allows."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - MONAI draws from the global generator in places
    torch.manual_seed(seed)
    settle_vector_math()
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    torch.backends.cudnn.benchmark = False


def train(task: Task, recipe: Recipe, digest: str, controls: Controls) -> tuple[Weights, Progress]:
    """Train, or go on from the checkpoint, and return the weights of the best epoch.

    ``digest`` names recipe and snapshot: a checkpoint of anything else is refused.

    Raises:
        TrainingRefused: loss or score is not finite (``training.diverged``), or the checkpoint
            belongs to another recipe or snapshot.
        Interrupted: asked to stop; the checkpoint is written.

    """
    make_deterministic(recipe.seed)
    network = task.network().to(controls.device)
    optimisation = Optimisation(
        network, turns(task, network), recipe.optimiser, epochs=recipe.epochs
    )
    state = State(network, optimisation, digest)
    if controls.checkpoint.exists():
        state.restore(controls.checkpoint, controls.device)
    done = state.progress
    watch = Stopwatch(done, recipe.budget, controls.clock)
    ranks.part_chances(recipe.seed, done.epoch, done.step)
    while done.epoch < recipe.epochs and not done.is_stopped:
        _learn(task, recipe, state, controls, watch)
        _look(task, recipe, state)
        _save(state, controls, watch)
        report = EpochReport(
            epoch=done.epoch,
            epochs=recipe.epochs,
            steps=task.steps(done.epoch - 1),
            best_score=done.best_score,
            history=done.history,
        )
        controls.on_epoch(report)
    return state.best, done


def _learn(task: Task, recipe: Recipe, state: State, controls: Controls, watch: Stopwatch) -> None:
    """Learn from what is left of the epoch, or of the budget, which then ends the epoch early.

    Checkpoints lie where the weights have just moved.
    """
    done, network, optimisation = state.progress, state.network, state.optimisation
    steps, cases = task.steps(done.epoch), 0
    network.train()
    if isinstance(task, BeginsEpochs):
        task.begin_epoch(network, done.epoch)
    for batch in task.batches(done.epoch, done.step):
        learnt = optimisation.learn(batch, done.step, steps)
        for name, value in learnt.losses.items():
            done.loss_sums[name] = done.loss_sums.get(name, 0.0) + value
        cases += learnt.cases
        done.step += 1
        if not learnt.has_moved:
            continue
        if isinstance(task, FollowsSteps):
            task.after_step(network)
        controls.on_step(
            StepReport(
                epoch=done.epoch,
                epochs=recipe.epochs,
                step=done.step,
                steps=steps,
                losses=learnt.losses,
                cases=cases,
            )
        )
        cases = 0
        if ranks.any_of(is_so=controls.is_stopping(), device=controls.device):
            _save(state, controls, watch)
            raise Interrupted("asked to stop; the training goes on from its checkpoint")
        if watch.is_spent(controls.device):
            done.is_stopped = True
            return
        if controls.is_due():
            _save(state, controls, watch)


def _save(state: State, controls: Controls, watch: Stopwatch) -> None:
    """Write a checkpoint with the time that it took to get there, which no pause gives back."""
    watch.note()
    state.save(controls.checkpoint)


def _look(task: Task, recipe: Recipe, state: State) -> None:
    """End the epoch: validate, keep the best weights, decide on stopping, step the rates."""
    done, optimisation = state.progress, state.optimisation
    losses = {name: total / max(done.step, 1) for name, total in done.loss_sums.items()}
    done.epoch, done.step, done.loss_sums = done.epoch + 1, 0, {}
    is_last = done.is_stopped or done.epoch == recipe.epochs
    score = None
    if is_last or done.epoch % recipe.validate_every == 0:
        score = _score(task, optimisation.answering)
    done.history.append(Epoch(losses=losses, score=score, learning_rate=optimisation.learning_rate))
    if score is not None and (done.best_score is None or score > done.best_score):
        done.best_score, done.best_epoch = score, done.epoch
        state.keep_best()
    if is_last and done.best_score is None:  # no validation part: the last epoch stands
        done.best_epoch = done.epoch
        state.keep_best()
    patience = recipe.early_stopping.patience if recipe.early_stopping else None
    if score is not None and patience is not None and done.epoch - done.best_epoch >= patience:
        done.is_stopped = True
    optimisation.finish_epoch(score)


def _score(task: Task, network: nn.Module) -> float | None:
    """Validate. Of several processes the first one does; the others are told.

    Raises:
        TrainingRefused: the score is not finite (``training.diverged``).

    """
    score = None
    if ranks.number() == 0:
        network.eval()
        with torch.inference_mode():
            score = task.score(network)
    score = ranks.told(score, next(network.parameters()).device)
    if score is not None and not math.isfinite(score):
        sentence = "the answers for the validation part are no longer finite numbers; try a lower"
        raise TrainingRefused(f"{sentence} learning rate", Reason.TRAINING_DIVERGED)
    return score
