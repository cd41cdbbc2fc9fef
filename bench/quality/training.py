"""One training of the quality bench, by the training's own process, and what came of it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from bench.quality.plan import Task
from pipeline.evaluation import scores
from pipeline.evaluation.scores import Scores
from pipeline.training import planning, product, recipe
from pipeline.training.process import DONE, Order

RECIPES: Final = Path(__file__).parent / "recipes"
_OUTCOME: Final = "outcome.json"


class TrainingEnded(RuntimeError):
    """A training of the bench ended without a bundle."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A training that came to its end."""

    task: str
    recipe_digest: str
    metrics: Mapping[str, Any]
    seconds: float
    bundle: str

    def scores(self) -> Scores:
        """Return how good it was on each held-out case."""
        return scores.parse((Path(self.bundle) / product.SCORES).read_text(encoding="utf-8"))


def train(task: Task, data: Path, work: Path, *, threads: int = 0) -> Outcome:
    """Train one task below ``work``. One that ended there by the same recipe is not done again.

    Raises:
        TrainingEnded: no bundle came of it, or its data are not there; the sentence says why.

    """
    folder = work / task.name
    wanted, digest = _asked((RECIPES / task.recipe).read_text(encoding="utf-8"))
    kept = folder / _OUTCOME
    if kept.exists():
        outcome = Outcome(**json.loads(kept.read_text()))
        if outcome.recipe_digest == digest:
            return outcome
    source = data / "labelled" / task.needs
    if not source.is_dir():
        sentence = f"{source} is not there; --data names the folder that labelled/ is in"
        raise TrainingEnded(f"{task.name}: {sentence}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    manifest = task.manifest(source, folder)
    order = Order(
        recipe=wanted,
        manifest=str(manifest),
        folder=str(folder / "training"),
        bundle=str(folder / "bundle"),
        version="1.0.0",
        threads=threads,
    )
    started = time.monotonic()
    metrics = _run(order, folder)
    outcome = Outcome(
        task=task.name,
        recipe_digest=digest,
        metrics=metrics,
        seconds=time.monotonic() - started,
        bundle=order.bundle,
    )
    kept.write_text(json.dumps(asdict(outcome), indent=2))
    return outcome


def _asked(text: str) -> tuple[dict[str, Any], str]:
    """Return what is asked of the training, and a digest of it; its cases may decide the rest."""
    document = yaml.safe_load(text)
    if planning.is_auto(document):
        return document, hashlib.sha256(text.encode()).hexdigest()
    wanted = recipe.check(document)
    return wanted.stated(), wanted.digest


def _run(order: Order, folder: Path) -> Mapping[str, Any]:
    """Run the process of a training to its end, and show how it goes."""
    paper = folder / "order.json"
    paper.write_text(json.dumps(asdict(order)))
    command = [sys.executable, "-m", "pipeline.training", str(paper)]
    last: Mapping[str, Any] = {}
    with (
        (folder / "errors.log").open("wb") as errors,
        (folder / "events.jsonl").open("w") as events,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        for line in process.stdout or ():
            events.write(line)
            last = json.loads(line)
            _show(folder.name, last)
    if process.returncode != DONE:
        raise TrainingEnded(f"{folder.name}: {last.get('detail', 'see errors.log')}")
    return dict(last["metrics"])


def _show(name: str, event: Mapping[str, Any]) -> None:
    """Write one line to standard error for each epoch and phase."""
    if event["event"] == "epoch":
        score = event["score"]
        shown = "" if score is None else f", score {score:.4f}"
        words = f"epoch {event['epoch']} of {event['epochs']}: loss {event['loss']:.4f}{shown}"
    elif event["event"] == "phase":
        words = str(event["phase"])
    else:
        return
    sys.stderr.write(f"{name}: {words}\n")
