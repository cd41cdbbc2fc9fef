"""A training that is killed again and again ends in the same bytes as one that is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.training import loop
from tests import dying_training, quick_learning
from tests.quick_learning import Line

ROOT = Path(__file__).parents[3]
#: in a warm-up, between two looks, with gradients added up, while a file is half written, after
#: the last batch of an epoch, and in the epoch in which the rate drops
PLACES = [
    "step 0 3",
    "write 0 4",
    "look 1",
    "step 2 4",
    "write 3 3",
    "step 4 3",
    "look 5",
    "step 6 4",
]


@pytest.mark.system
def test_killed_in_eight_places_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    program = subprocess.run(
        [sys.executable, "-m", "tests.dying_training", str(whole), str(killed)],
        input="".join(f"{place}\n" for place in PLACES),
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    ends = [int(line) for line in program.stdout.split()]
    assert ends == [-signal.SIGKILL] * len(PLACES) + [0]
    name = dying_training.WEIGHTS
    assert (killed / name).read_bytes() == (whole / name).read_bytes()
    assert not list(killed.rglob("*.partial"))  # of the two that were killed while they wrote


def test_a_checkpoint_of_another_version_of_nightshift_is_begun_anew(tmp_path: Path) -> None:
    wanted = quick_learning.recipe_of({})
    torch.save({"digest": "d", "epoch": 3}, tmp_path / "checkpoint")
    _, progress = loop.train(Line(), wanted, "d", quick_learning.controls(tmp_path))
    assert len(progress.history) == wanted.epochs
