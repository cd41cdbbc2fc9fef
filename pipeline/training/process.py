"""One training in a process of its own: ``python -m pipeline.training ORDER.json``.

Progress goes to standard output as JSON lines. SIGTERM writes a checkpoint and ends with
``PREEMPTED``; the same order starts again where it stopped, also after kill -9. Under torchrun
(``pipeline.training.launch``) it is one of several processes, of which the first one speaks.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pipeline.deidentify import keys
from pipeline.deidentify.keys import Key
from pipeline.errors import Interrupted, PipelineError, StudyRejected, TrainingRefused
from pipeline.evaluation import summary
from pipeline.models import predictors, weights
from pipeline.models.bundle import BundleRefused
from pipeline.models.devices import Device
from pipeline.reasons import Reason
from pipeline.training import (
    deidentified,
    gating,
    judging,
    kept_cases,
    manifest,
    product,
    ranks,
    recipe,
    tasks,
    transfer,
)
from pipeline.training.board import Board
from pipeline.training.checkpoint import Weights
from pipeline.training.controls import Controls
from pipeline.training.data import Prepared
from pipeline.training.live import Live, Say
from pipeline.training.loop import train
from pipeline.training.manifest import Part, Snapshot
from pipeline.training.phases import Phases
from pipeline.training.recipe import Recipe
from pipeline.training.robustness import Robustness
from pipeline.training.task import Task
from pipeline.training.transfer import Taken

DONE = 0
FAILED = 1
REFUSED = 3
PREEMPTED = 75


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is asked of this process."""

    recipe: dict[str, Any]
    manifest: str
    #: kept between attempts: checkpoint, prepared cases
    folder: str
    #: where the bundle goes; must not exist
    bundle: str
    version: str
    #: ``auto``, or a device; of several processes each takes one of ``cuda:0,cuda:1``
    device: str = "auto"
    threads: int = 0
    #: where TensorBoard finds the curves; empty = none are kept
    tensorboard: str = ""
    #: checkpoints inside an epoch
    checkpoint_seconds: float = 300.0
    #: file of the key that patients are named under in what is kept of them, and that snapshots
    #: are de-identified with where the recipe asks for it
    deidentify_key: str = ""
    #: folders of the registered bundles that a recipe transfers from, by ``name@version``
    sources: dict[str, str] = field(default_factory=dict)
    #: what the candidate is held against, as ``gating.GateOrder``; None = it is not
    gate: dict[str, Any] | None = None


class Stop:
    """Set by SIGTERM, asked between two steps."""

    def __init__(self) -> None:
        self.is_asked = False
        signal.signal(signal.SIGTERM, self._ask)

    def checkpoint(self) -> None:
        """Return if the work may go on.

        Raises:
            Interrupted: SIGTERM came.

        """
        if self.is_asked:
            raise Interrupted("asked to stop")

    def _ask(self, *_: object) -> None:
        self.is_asked = True


def main(arguments: list[str]) -> int:
    """Run the order in a file. Returns an exit code; the last line says how it ended."""
    order = Order(**json.loads(Path(arguments[0]).read_text()))
    try:
        run(order, _say, Stop())
    except Interrupted:
        return PREEMPTED
    except (TrainingRefused, StudyRejected, BundleRefused) as refused:
        _say({"event": "refused", "reason": refused.reason, "detail": refused.sentence})
        return REFUSED
    except PipelineError as failed:
        _say({"event": "failed", "reason": failed.reason, "detail": failed.sentence})
        return FAILED
    except (MemoryError, torch.OutOfMemoryError):
        reason, detail = Reason.RUN_OUT_OF_MEMORY, "memory was used up; try a smaller batch"
        _say({"event": "failed", "reason": reason, "detail": detail})
        return FAILED
    return DONE


def run(order: Order, say: Say, stop: Stop) -> None:
    """Freeze, prepare, train, write the bundle and evaluate it.

    Raises:
        TrainingRefused: the recipe, the manifest or the loss.
        Interrupted: asked to stop.

    """
    wanted = recipe.check(order.recipe)
    if order.threads:
        torch.set_num_threads(order.threads)
    with ranks.joined("cuda" if _devices(order)[0].type == "cuda" else "cpu"):
        is_first = ranks.number() == 0
        say = say if is_first else _keep_quiet
        device = _devices(order)[ranks.number()]
        learned = _learn(order, wanted, device, say, stop)
    if is_first:
        _evaluate(order, learned, device, say, stop)


def _learn(
    order: Order, wanted: Recipe, device: torch.device, say: Say, stop: Stop
) -> product.Learned:
    """Freeze, prepare and train."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    folder = Path(order.folder)
    folder.mkdir(parents=True, exist_ok=True)
    say({"event": "phase", "phase": "reading"})
    with ranks.first_before_others():
        snapshot = _snapshot(order, wanted, stop)
        say({"event": "snapshot", "digest": snapshot.digest, "cases": snapshot.counts()})
        prepared = tasks.prepare(wanted, snapshot, folder / "cases", checkpoint=stop.checkpoint)
    taken = _taken(order, wanted, prepared, say)
    digest = " ".join([wanted.digest, snapshot.digest, *([taken.digest] if taken else [])])

    def controls(name: str, live: Live) -> Controls:
        return Controls(
            checkpoint=folder / name,
            device=device,
            is_stopping=lambda: stop.is_asked,
            clock=time.monotonic,
            is_due=live.is_due,
            on_step=live.on_step,
            on_epoch=live.on_epoch,
        )

    def train_phase(name: str, task: Task, by: Recipe) -> Weights:
        say({"event": "phase", "phase": name})
        live = Live(say, time.monotonic, None, checkpoint_every=order.checkpoint_seconds)
        return train(task, by, f"{digest} {name}", controls(f"checkpoint-{name}", live))[0]

    phases = Phases(
        recipe=wanted, device=device, folder=folder / "made", train=train_phase, taken=taken
    )
    task = tasks.open(prepared, phases)
    say({"event": "phase", "phase": "training"})
    with _live(order, say) as live:
        learnt, progress = train(task, wanted, digest, controls("checkpoint", live))
    return product.Learned(
        recipe=wanted,
        snapshot=snapshot,
        version=order.version,
        weights=tasks.bundle_weights(wanted, learnt),
        best_epoch=progress.best_epoch,
        history=progress.history,
        taken=taken,
    )


def _evaluate(
    order: Order, learned: product.Learned, device: torch.device, say: Say, stop: Stop
) -> None:
    """Let the bundle answer for the held-out cases, write it with the scores, ask the gate."""
    say({"event": "phase", "phase": "evaluating"})
    wanted, snapshot = learned.recipe, learned.snapshot
    draft = product.write(_fresh(Path(order.folder) / "draft"), learned, None)
    predictor = predictors.open(draft, device=Device(str(device)))
    held_out = snapshot.part(Part.HELD_OUT)
    scores = judging.judge(held_out, wanted, predictor, checkpoint=stop.checkpoint)
    if wanted.evaluation.robustness is not None:
        attacked = Robustness(recipe=wanted, network=weights.load(draft), device=device)
        scores = attacked.measured(scores, held_out, checkpoint=stop.checkpoint)
    measured = product.Measured(scores=scores, metrics=summary.summarise(scores))
    made = product.write(_fresh(Path(order.bundle)), learned, measured)
    end = {"event": "finished", "digest": made.digest, "metrics": measured.metrics}
    if order.gate is not None:
        say({"event": "phase", "phase": "gate"})
        key, is_deidentified = _key(order), wanted.snapshot.deidentify
        candidate = gating.Candidate(
            recipe=wanted,
            version=order.version,
            digest=made.digest,
            held_out=held_out,
            cases=kept_cases.keep(snapshot, key, is_deidentified=is_deidentified),
            scores=scores,
        )
        gate = gating.GateOrder.of(order.gate)
        verdict = gating.run(
            gate, candidate, device=Device(str(device)), checkpoint=stop.checkpoint
        )
        end["gate"] = {"decision": verdict.decision, "sentence": verdict.sentence}
    say(end)


def _taken(order: Order, wanted: Recipe, prepared: Prepared, say: Say) -> Taken | None:
    """Read what the network begins with, other than chance, and say what of it fits."""
    if wanted.transfer is None:
        return None
    source = transfer.find(wanted.transfer, order.sources, Path(order.manifest).parent)
    taken = tasks.taken(wanted, wanted.transfer, prepared, source)
    say({"event": "transfer", **taken.report()})
    return taken


def _snapshot(order: Order, wanted: Recipe, stop: Stop) -> Snapshot:
    """Freeze the manifest; where the recipe asks for it, into copies that name no patient."""
    snapshot = manifest.freeze(Path(order.manifest), wanted)
    if not wanted.snapshot.deidentify:
        return snapshot
    copies = Path(order.folder) / "deidentified"
    return deidentified.deidentified(snapshot, _key(order), copies, checkpoint=stop.checkpoint)


def _key(order: Order) -> Key:
    """Return the key of the installation, made where there is none yet."""
    try:
        keys.make_key(Path(order.deidentify_key))
        return keys.read_key(Path(order.deidentify_key))
    except (OSError, keys.KeyRefused) as why:
        sentence = "the key for de-identification cannot be used"
        raise TrainingRefused(sentence, Reason.TRAINING_RECIPE_INVALID) from why


@contextmanager
def _live(order: Order, say: Say) -> Iterator[Live]:
    is_kept = bool(order.tensorboard) and ranks.number() == 0
    board = Board(Path(order.tensorboard)) if is_kept else None
    try:
        yield Live(say, time.monotonic, board, checkpoint_every=order.checkpoint_seconds)
    finally:
        if board is not None:
            board.close()


def _devices(order: Order) -> list[torch.device]:
    """Return the device of each process."""
    if order.device != "auto":
        return [torch.device(name) for name in order.device.split(",")]
    return [torch.device("cuda:0" if torch.cuda.is_available() else "cpu")]


def _fresh(folder: Path) -> Path:
    """Return ``folder`` with what an attempt that was killed left there removed."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _keep_quiet(_: Mapping[str, Any]) -> None:
    """Say nothing: the first process speaks for all."""


def _say(event: Mapping[str, Any]) -> None:
    """Write one line as a whole; a reader that is gone ends the process by SIGPIPE."""
    os.write(sys.stdout.fileno(), (json.dumps(event) + "\n").encode())
