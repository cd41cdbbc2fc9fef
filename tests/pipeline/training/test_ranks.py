"""Several processes that train one model: shares of batches, and the weights they agree on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pipeline.models import bundle
from pipeline.training import launch, ranks
from tests import quick_training

ROOT = Path(__file__).parents[3]


def test_one_device_needs_no_torchrun(tmp_path: Path) -> None:
    command = launch.command(tmp_path / "order.json", ["cuda:0"])
    assert command == [sys.executable, "-m", "pipeline.training", str(tmp_path / "order.json")]


@pytest.mark.parametrize("number", range(3))
def test_three_processes_share_a_batch(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(ranks, "count", lambda: 3)
    monkeypatch.setattr(ranks, "number", lambda: number)
    assert ranks.share([*range(8)]) == [[0, 3, 6], [1, 4, 7], [2, 5]][number]
    assert ranks.share(["a"]) == ["a"]
    assert ranks.share(["a", "b"]) == [["a"], ["b"], ["a"]][number]


def test_cases_are_counted_by_the_first_thing_in_a_batch() -> None:
    images = torch.zeros(3, 1, 4, 4)
    assert ranks.cases_in((images, torch.zeros(5))) == 3
    assert ranks.cases_in(([images, images], [{}])) == 2
    assert ranks.cases_in({"labelled": (images, 0), "unlabelled": images[:1]}) == 3
    with pytest.raises(TypeError):
        ranks.cases_in(("a", "b"))


def trained(folder: Path, device: str) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """Train on the CPU, in as many processes as ``device`` names; return weights and events."""
    folder.mkdir()
    network = quick_training.CLASSIFICATION["network"]
    arguments = network["arguments"] | {"norm": "instance", "dropout_prob": 0.0}
    optimiser = {"name": "sgd", "learning_rate": 0.05, "accumulate": 2, "ema": 0.9}
    document = {
        # batches of five, of which the processes get three and two
        "recipe": quick_training.CLASSIFICATION
        | {"network": network | {"arguments": arguments}, "optimiser": optimiser, "batch": 5},
        "manifest": str(quick_training.write_images(folder)),
        "folder": str(folder / "work"),
        "bundle": str(folder / "bundle"),
        "version": "1.0",
        "device": device,
        "threads": 1,
    }
    order = folder / "order.json"
    order.write_text(json.dumps(document))
    process = subprocess.run(
        launch.command(order, device.split(",")),
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    weights = load_file(folder / "bundle" / bundle.WEIGHTS)
    return weights, [json.loads(line) for line in process.stdout.splitlines()]


@pytest.mark.system
def test_processes_that_wait_for_one_another_end_with_who_started_them(tmp_path: Path) -> None:
    program = tmp_path / "waiting.py"
    program.write_text(
        "import os, time\n"
        "from pipeline.training import ranks\n"
        "with ranks.joined('cpu'):\n"
        "    os.write(1, b'here\\n')\n"
        "    if ranks.number() == 0:\n"
        "        time.sleep(600)\n"
        "    ranks.total([1.0], 'cpu')\n"
    )
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    agent = subprocess.Popen(
        [sys.executable, *torchrun, str(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert agent.stdout is not None
    for _ in range(2):
        next(agent.stdout)
    agent.kill()
    agent.communicate(timeout=60)  # whoever is left would hold the pipe open


@pytest.mark.system
def test_two_processes_come_to_the_weights_of_one(tmp_path: Path) -> None:
    one, alone = trained(tmp_path / "one", "cpu")
    two, together = trained(tmp_path / "two", "cpu,cpu")
    heard, alike = (
        [event["event"] for event in said if event["event"] != "step"] for said in (alone, together)
    )
    assert heard == alike
    assert one.keys() == two.keys()
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-4, atol=1e-5)
    losses = [
        [event["loss"] for event in run if event["event"] == "epoch"] for run in (alone, together)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
