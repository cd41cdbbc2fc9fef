"""All that may surround a training at once: in the training's own process, and across a stop."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.models import bundle
from pipeline.training import learning, recipe
from pipeline.training.attempt import Attempt, Order, Stop
from pipeline.training.checkpoint import Progress, Weights
from pipeline.training.fields.budget import BudgetField
from pipeline.training.recipe import Recipe
from tests import quick_training
from tests.quick_learning import Line
from tests.quick_training import write_images, write_manifest

EVERYTHING: dict[str, Any] = quick_training.CLASSIFICATION | {
    "epochs": 3,
    "pretraining": {"method": "contrastive", "epochs": 30, "batch": 6, "projection": 4},
    "generated": {"per_class": 3, "epochs": 2, "batch": 4, "latent": 4, "features": 4},
    "adversarial": {"method": "pgd", "steps": 2, "epsilon": 0.05},
    "semi_supervised": {"batch": 4, "ramp_up": 2},
    "evaluation": {"robustness": {"method": "pgd", "steps": 2, "epsilons": [0, 0.1]}},
}


class Unstopped(Stop):
    """Nobody asks to stop; no signal is listened to."""

    def __init__(self) -> None:
        self.is_asked = False


def order(folder: Path) -> Path:
    """Write an order whose manifest has cases without a label."""
    cases = folder / "cases"
    cases.mkdir(parents=True)
    with write_images(cases, 24).open() as file:
        rows = [tuple(row) for row in csv.reader(file)][1:]
    for number in (0, 1, 8, 9):
        image, _, patient, part = rows[number]
        assert part == "training"
        rows[number] = (image, "", patient, "unlabelled")
    document = {
        "recipe": EVERYTHING,
        "manifest": str(write_manifest(cases, rows)),
        "folder": str(folder / "work"),
        "bundle": str(folder / "bundle"),
        "version": "1.0",
        "device": "cpu",
        "threads": 1,
    }
    paper = folder / "order.json"
    paper.write_text(json.dumps(document))
    return paper


def run(paper: Path, *, stop_after: int = 0) -> tuple[int, list[dict[str, Any]]]:
    """Run an order; stop it once it has told of so many epochs."""
    said: list[dict[str, Any]] = []
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline.training", str(paper)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    ) as process:
        for line in process.stdout or ():
            said.append(json.loads(line))
            if sum(event["event"] == "epoch" for event in said) == stop_after > 0:
                process.send_signal(signal.SIGTERM)
    return process.returncode, said


@pytest.mark.system
def test_everything_together_ends_in_a_bundle_and_in_the_same_one_after_a_stop(
    tmp_path: Path,
) -> None:
    code, said = run(order(tmp_path / "whole"))
    assert code == 0
    phases = [event["phase"] for event in said if event["event"] == "phase"]
    assert phases == ["reading", "generating", "pretraining", "training", "evaluating"]
    made = bundle.load(tmp_path / "whole" / "bundle")
    card = (tmp_path / "whole" / "bundle" / bundle.CARD).read_text()
    assert "4 without a label and 6 images made by a generator" in " ".join(card.split())
    metrics = said[-1]["metrics"]
    assert metrics["accuracy_under_pgd_0"] == metrics["accuracy"]
    assert "accuracy under pgd 0.1" in card

    stopped = order(tmp_path / "stopped")
    code, said = run(stopped, stop_after=5)
    assert code == 75
    assert [event["phase"] for event in said if event["event"] == "phase"][-1] == "pretraining"
    code, said = run(stopped)
    assert code == 0
    assert said[-1]["digest"] == made.digest


def test_a_budget_is_for_all_phases_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[float] = []

    def train(task: object, by: Recipe, digest: str, controls: object) -> tuple[Weights, Progress]:
        del task, digest, controls
        assert by.budget is not None
        left.append(by.budget.hours)
        return {}, Progress(seconds=1800.0)

    monkeypatch.setattr(learning, "train", train)
    wanted = recipe.check(quick_training.CLASSIFICATION | {"budget": {"hours": 2}})
    attempt = Attempt(
        order=Order(recipe={}, manifest="", folder=str(tmp_path), bundle="", version="1.0"),
        recipe=wanted,
        device=torch.device("cpu"),
        say=lambda _: None,
        stop=Unstopped(),
    )
    before = learning._Before(attempt, "d")
    for name in ("generating", "pretraining"):
        before(name, Line(), wanted)
    assert [*left, before.left(wanted).budget] == [2.0, 1.5, BudgetField(hours=1.0)]
