"""Trains, and dies: ``python -m tests.dying_training WHOLE KILLED``.

Trains to the end in the folder WHOLE. Then each line of standard input names a place to die at: a
child of this process trains in the folder KILLED until it is there, and is killed by a signal that
nothing can catch; the next child goes on, and the last one to the end. How each ended is printed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from pipeline.training import loop
from pipeline.training.controls import StepReport
from tests import quick_learning
from tests.quick_learning import Line

#: everything that has a state of its own
OPTIMISER = {
    "name": "sgd",
    "learning_rate": 0.05,
    "schedule": "plateau",
    "drop": {"factor": 0.5, "epochs": 1},
    "warm_up": 2,
    "accumulate": 3,
    "ema": 0.9,
    "l1": 0.001,
}
EPOCHS = 7
WEIGHTS = "weights.safetensors"
FINISH = "finish"


def die() -> None:
    """End this process as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


class Dying(Line):
    """A line whose validation kills where it is told to."""

    deadly_look = False

    def score(self, network: nn.Module) -> float | None:
        if self.deadly_look:
            die()
        return super().score(network)


def train(folder: Path, place: str) -> None:
    """Train on, checkpoint after each step that moves the weights, and die at ``place``.

    Places: ``step E S`` after step S of epoch E; ``look E`` while epoch E is validated;
    ``write E S`` in the middle of writing the checkpoint of that step; ``finish`` nowhere.
    """
    what, *numbers = place.split()
    at = tuple(int(number) for number in numbers)
    task = Dying(dropout=0.25)
    wanted = quick_learning.recipe_of(OPTIMISER, epochs=EPOCHS, seed=5)

    def on_step(report: StepReport) -> None:
        here = (report.epoch, report.step)
        task.deadly_look = what == "look" and report.epoch == at[0]
        if what == "step" and here == at:
            die()
        if what == "write" and here == at:
            os.fsync = _dying  # type: ignore[assignment]

    controls = replace(quick_learning.controls(folder), is_due=lambda: True, on_step=on_step)
    weights, _ = loop.train(task, wanted, "d", controls)
    save_file(weights, folder / WEIGHTS)


def _dying(descriptor: int) -> None:
    os.ftruncate(descriptor, 100)
    die()


def in_child(work: Callable[[], None]) -> int:
    """Run ``work`` in a child of this process and return how it ended, as ``subprocess`` does."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    torch.set_num_threads(1)
    whole, killed = (Path(argument) for argument in sys.argv[1:])
    train(whole, FINISH)
    for line in [*sys.stdin, FINISH]:
        code = in_child(lambda: train(killed, line))  # noqa: B023 - run at once
        sys.stdout.write(f"{code}\n")
