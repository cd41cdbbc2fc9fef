"""The training process: what it says, how it ends, what it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.evaluation import scores, summary
from pipeline.models import bundle
from pipeline.training import process, product
from tests import quick_training

pytestmark = pytest.mark.system

#: what learns and is no part of the bundle: answers at a second depth, and a critic
DEEP: dict[str, Any] = quick_training.SEGMENTATION | {
    "name": "deep",
    "network": {
        "name": "SegResNetDS",
        "arguments": {
            "spatial_dims": 3,
            "in_channels": 1,
            "out_channels": 2,
            "init_filters": 4,
            "blocks_down": [1, 1, 1],
            "norm": "INSTANCE",
        },
    },
    "deep_supervision": 1,
}
JUDGED: dict[str, Any] = quick_training.RESTORATION | {
    "name": "judged",
    "critic": {"features": 4, "layers": 1},
    "optimiser": {"ema": 0.9},
}


def order(folder: Path, recipe: dict[str, Any]) -> Path:
    cases = folder / "cases"
    cases.mkdir(exist_ok=True)
    is_flat = recipe["kind"] == "classification"
    path = (
        quick_training.write_images(cases)
        if is_flat
        else quick_training.write_balls(cases, recipe["kind"])
    )
    document = {
        "recipe": recipe,
        "manifest": str(path),
        "folder": str(folder / "work"),
        "bundle": str(folder / "bundle"),
        "version": "1.0",
        "device": "cpu",
        "threads": 1,
    }
    paper = folder / "order.json"
    paper.write_text(json.dumps(document))
    return paper


def start(paper: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.training", str(paper)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )


def run(paper: Path) -> tuple[int, list[dict[str, Any]]]:
    with start(paper) as process:
        said = [json.loads(line) for line in process.stdout or ()]
    return process.returncode, said


@pytest.mark.parametrize(
    "recipe",
    [
        quick_training.CLASSIFICATION,
        quick_training.SEGMENTATION,
        quick_training.DETECTION,
        quick_training.RESTORATION,
        DEEP,
        JUDGED,
    ],
    ids=lambda recipe: recipe["name"],
)
def test_every_kind_ends_in_a_bundle_that_loads_and_is_measured(
    tmp_path: Path, recipe: dict[str, Any]
) -> None:
    code, said = run(order(tmp_path, recipe))
    assert code == 0
    assert [event["event"] for event in said if event["event"] not in ("step", "epoch")] == [
        "phase",
        "snapshot",
        "phase",
        "phase",
        "finished",
    ]
    assert [event["epoch"] for event in said if event["event"] == "epoch"] == [
        *range(1, recipe["epochs"] + 1)
    ]
    made = bundle.load(tmp_path / "bundle")
    assert made.digest == said[-1]["digest"]
    metrics = said[-1]["metrics"]
    assert metrics["cases"] > 0
    kept = scores.parse((tmp_path / "bundle" / product.SCORES).read_text())
    assert json.loads(json.dumps(summary.summarise(kept))) == metrics
    page = (tmp_path / "bundle" / product.PAGE).read_text()
    assert f"{metrics['cases']} held-out cases" in page
    assert "Not for clinical use" in page
    assert made.spec.name == recipe["name"]
    card = (tmp_path / "bundle" / bundle.CARD).read_text()
    assert "Not for clinical use" in card
    assert "DEMONSTRATION" not in card


def test_the_same_order_gives_the_same_bundle_to_the_byte(tmp_path: Path) -> None:
    digests = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        _, said = run(order(tmp_path / name, quick_training.CLASSIFICATION))
        digests.append(said[-1]["digest"])
    assert digests[0] == digests[1]


def test_sigterm_leaves_a_checkpoint_and_the_order_goes_on_to_the_same_bundle(
    tmp_path: Path,
) -> None:
    recipe = quick_training.CLASSIFICATION | {"epochs": 200}
    (tmp_path / "whole").mkdir()
    (tmp_path / "stopped").mkdir()
    _, whole = run(order(tmp_path / "whole", recipe))
    paper = order(tmp_path / "stopped", recipe)
    with start(paper) as process:
        for line in process.stdout or ():
            if json.loads(line).get("epoch") == 3:
                process.send_signal(signal.SIGTERM)
                break
        process.communicate()
    assert process.returncode == 75
    assert (tmp_path / "stopped" / "work" / "checkpoint").exists()
    code, said = run(paper)
    assert code == 0
    assert next(event for event in said if event["event"] == "epoch")["epoch"] > 3
    assert said[-1]["digest"] == whole[-1]["digest"]


def test_a_refusal_is_said_with_its_reason(tmp_path: Path) -> None:
    code, said = run(order(tmp_path, quick_training.CLASSIFICATION | {"epochs": 0}))
    assert code == 3
    assert said[-1]["event"] == "refused"
    assert said[-1]["reason"] == "training.recipe_invalid"


def test_a_disk_that_is_full_is_said_also_where_torch_says_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fill(*_: object) -> None:
        with Path("/dev/full").open("wb") as full:
            torch.save({"weights": torch.zeros(100_000)}, full)

    monkeypatch.setattr(process, "run", fill)
    assert process.main([str(order(tmp_path, quick_training.CLASSIFICATION))]) == process.FAILED
    said = json.loads(capfd.readouterr().out)
    assert said == {
        "event": "failed",
        "reason": "run.disk_full",
        "detail": "the disk of the store is full",
    }


def test_a_demonstration_says_so_on_its_card(tmp_path: Path) -> None:
    run(order(tmp_path, quick_training.CLASSIFICATION | {"demonstration": True, "epochs": 1}))
    card = (tmp_path / "bundle" / bundle.CARD).read_text()
    assert "DEMONSTRATION" in card
    assert "synthetic" in card
    assert bundle.load(tmp_path / "bundle").spec.is_demonstration
