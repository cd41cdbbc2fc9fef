"""From a manifest to weights: freeze the cases, prepare them, learn in as many phases as asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.training import deidentified, manifest, ranks, tasks, transfer
from pipeline.training.attempt import Attempt
from pipeline.training.board import Board
from pipeline.training.cache import Cache
from pipeline.training.checkpoint import Weights
from pipeline.training.controls import Controls
from pipeline.training.data import Prepared
from pipeline.training.fields.budget import BudgetField
from pipeline.training.live import Live
from pipeline.training.loop import train
from pipeline.training.manifest import Snapshot
from pipeline.training.phases import Phases
from pipeline.training.product import Learned
from pipeline.training.recipe import Recipe
from pipeline.training.task import Task
from pipeline.training.transfer import Taken

_CHECKPOINT = "checkpoint"


def learn(attempt: Attempt) -> Learned:
    """Freeze, prepare and train.

    Raises:
        TrainingRefused: the recipe, the manifest or the loss.
        Interrupted: asked to stop.

    """
    recipe, folder = attempt.recipe, attempt.folder
    folder.mkdir(parents=True, exist_ok=True)
    attempt.enter("reading")
    with ranks.first_before_others():
        snapshot = _snapshot(attempt)
        attempt.say({"event": "snapshot", "digest": snapshot.digest, "cases": snapshot.counts()})
        cases = Cache(folder=folder / "cases", shared=attempt.order.shared_cases())
        prepared = tasks.prepare(recipe, snapshot, cases, checkpoint=attempt.stop.checkpoint)
        snapshot = replace(snapshot, warnings=(*snapshot.warnings, *prepared.warnings))
    taken = _taken(attempt, prepared)
    digest = " ".join([recipe.digest, snapshot.digest, *([taken.digest] if taken else [])])
    before = _Before(attempt, digest)
    phases = Phases(
        recipe=recipe,
        device=attempt.device,
        folder=folder / "made",
        train=before,
        taken=taken,
    )
    task = tasks.open(prepared, phases)
    attempt.enter("training")
    with _live(attempt) as live:
        controls = _controls(attempt, live, _CHECKPOINT)
        weights, progress = train(task, before.left(recipe), digest, controls)
    return Learned(
        recipe=recipe,
        snapshot=snapshot,
        version=attempt.order.version,
        weights=tasks.bundle_weights(recipe, weights),
        best_epoch=progress.best_epoch,
        history=progress.history,
        taken=taken,
    )


@dataclass
class _Before:
    """Trains the phases before the training of the kind, each with a checkpoint of its own."""

    attempt: Attempt
    digest: str
    #: that they took, over all attempts
    seconds: float = 0.0

    def __call__(self, name: str, task: Task, by: Recipe) -> Weights:
        """Return the best weights of the phase ``name``."""
        attempt = self.attempt
        attempt.enter(name)
        every = attempt.order.checkpoint_seconds
        live = Live(attempt.say, time.monotonic, None, checkpoint_every=every)
        controls = _controls(attempt, live, f"{_CHECKPOINT}-{name}")
        weights, progress = train(task, self.left(by), f"{self.digest} {name}", controls)
        self.seconds += progress.seconds
        return weights

    def left(self, recipe: Recipe) -> Recipe:
        """Return a recipe whose budget is what the phases so far have left of it."""
        if recipe.budget is None:
            return recipe
        left = BudgetField.model_construct(hours=recipe.budget.hours - self.seconds / 3600)
        return recipe.model_copy(update={"budget": left})


def _controls(attempt: Attempt, live: Live, checkpoint: str) -> Controls:
    return Controls(
        checkpoint=attempt.folder / checkpoint,
        device=attempt.device,
        is_stopping=lambda: attempt.stop.is_asked,
        clock=time.monotonic,
        is_due=live.is_due,
        on_step=live.on_step,
        on_epoch=live.on_epoch,
    )


@contextmanager
def _live(attempt: Attempt) -> Iterator[Live]:
    """Watch the training, with curves for TensorBoard where they are asked for."""
    order = attempt.order
    is_kept = bool(order.tensorboard) and ranks.number() == 0
    board = Board(Path(order.tensorboard)) if is_kept else None
    try:
        yield Live(attempt.say, time.monotonic, board, checkpoint_every=order.checkpoint_seconds)
    finally:
        if board is not None:
            board.close()


def _taken(attempt: Attempt, prepared: Prepared) -> Taken | None:
    """Read what the network begins with, other than chance, and say what of it fits."""
    recipe, order = attempt.recipe, attempt.order
    if recipe.transfer is None:
        return None
    source = transfer.find(recipe.transfer, order.sources, order.weights_folder())
    taken = tasks.taken(recipe, recipe.transfer, prepared, source)
    attempt.say({"event": "transfer", **taken.report()})
    return taken


def _snapshot(attempt: Attempt) -> Snapshot:
    """Freeze the manifest; where the recipe asks for it, into copies that name no patient."""
    snapshot = manifest.freeze(Path(attempt.order.manifest), attempt.recipe)
    if not attempt.recipe.snapshot.deidentify:
        return snapshot
    key, copies = attempt.order.key(), attempt.folder / "deidentified"
    return deidentified.deidentified(snapshot, key, copies, checkpoint=attempt.stop.checkpoint)
