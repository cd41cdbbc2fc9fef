"""One training in a process of its own: ``python -m pipeline.training ORDER.json``.

Progress goes to standard output as JSON lines. SIGTERM writes a checkpoint and ends with
``PREEMPTED``; the same order starts again where it stopped, also after kill -9.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.deidentify import keys
from pipeline.errors import Interrupted, PipelineError, StudyRejected, TrainingRefused
from pipeline.evaluation import summary
from pipeline.models import predictors
from pipeline.models.bundle import BundleRefused
from pipeline.models.devices import Device
from pipeline.reasons import Reason
from pipeline.training import deidentified, judging, manifest, product, recipe, tasks
from pipeline.training.checkpoint import Progress
from pipeline.training.loop import Controls, EpochReport, Task, train
from pipeline.training.manifest import Part, Snapshot
from pipeline.training.recipe import Recipe

DONE = 0
FAILED = 1
REFUSED = 3
PREEMPTED = 75

Say = Callable[[Mapping[str, Any]], None]


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
    device: str = "auto"
    threads: int = 0
    #: file of the key that snapshots are de-identified with, where the recipe asks for it
    deidentify_key: str = ""


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
    device = _device(order)
    folder = Path(order.folder)
    folder.mkdir(parents=True, exist_ok=True)
    say({"event": "phase", "phase": "reading"})
    snapshot = _snapshot(order, wanted, stop)
    say({"event": "snapshot", "digest": snapshot.digest, "cases": snapshot.counts()})
    task = tasks.open(wanted, snapshot, folder / "cases", device, checkpoint=stop.checkpoint)
    say({"event": "phase", "phase": "training"})
    weights, progress = _train(task, wanted, snapshot, _controls(folder, device, say, stop))
    say({"event": "phase", "phase": "evaluating"})
    learned = product.Learned(
        recipe=wanted,
        snapshot=snapshot,
        version=order.version,
        weights=weights,
        best_epoch=progress.best_epoch,
    )
    draft = product.write(_fresh(folder / "draft"), learned, None)
    predictor = predictors.open(draft, device=Device(str(device)))
    held_out = snapshot.part(Part.HELD_OUT)
    scores = judging.judge(held_out, wanted, predictor, checkpoint=stop.checkpoint)
    measured = product.Measured(scores=scores, metrics=summary.summarise(scores))
    made = product.write(_fresh(Path(order.bundle)), learned, measured)
    say({"event": "finished", "digest": made.digest, "metrics": measured.metrics})


def _snapshot(order: Order, wanted: Recipe, stop: Stop) -> Snapshot:
    """Freeze the manifest; where the recipe asks for it, into copies that name no patient."""
    snapshot = manifest.freeze(Path(order.manifest), wanted)
    if not wanted.snapshot.deidentify:
        return snapshot
    try:
        keys.make_key(Path(order.deidentify_key))
        key = keys.read_key(Path(order.deidentify_key))
    except (OSError, keys.KeyRefused) as why:
        sentence = "the key for de-identification cannot be used"
        raise TrainingRefused(sentence, Reason.TRAINING_RECIPE_INVALID) from why
    copies = Path(order.folder) / "deidentified"
    return deidentified.deidentified(snapshot, key, copies, checkpoint=stop.checkpoint)


def _controls(folder: Path, device: torch.device, say: Say, stop: Stop) -> Controls:
    def on_epoch(report: EpochReport) -> None:
        say({"event": "epoch", **asdict(report)})

    return Controls(
        checkpoint=folder / "checkpoint",
        device=device,
        is_stopping=lambda: stop.is_asked,
        on_epoch=on_epoch,
    )


def _train(
    task: Task, wanted: Recipe, snapshot: Snapshot, controls: Controls
) -> tuple[dict[str, Tensor], Progress]:
    digest = f"{wanted.digest} {snapshot.digest}"
    state, progress = train(task, wanted, digest, controls)
    return tasks.bundle_weights(wanted, state), progress


def _device(order: Order) -> torch.device:
    """Choose the device and give this process its number of cores."""
    if order.threads:
        torch.set_num_threads(order.threads)
    if order.device != "auto":
        return torch.device(order.device)
    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


def _fresh(folder: Path) -> Path:
    """Return ``folder`` with what an attempt that was killed left there removed."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _say(event: Mapping[str, Any]) -> None:
    """Write one line as a whole; a reader that is gone ends the process by SIGPIPE."""
    os.write(sys.stdout.fileno(), (json.dumps(event) + "\n").encode())
