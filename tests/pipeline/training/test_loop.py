"""The loop: the same weights to the bit, straight through, stopped, or killed in between."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.errors import Interrupted, TrainingRefused
from pipeline.reasons import Reason
from pipeline.training import (
    classification,
    detection,
    loop,
    manifest,
    optimisation,
    preparing,
    recipe,
    segmentation,
)
from pipeline.training.checkpoint import Weights
from pipeline.training.controls import Controls, EpochReport, StepReport
from pipeline.training.recipe import Recipe
from pipeline.training.task import Task
from tests import quick_learning, quick_training
from tests.quick_learning import Line

KINDS = {
    "classification": quick_training.CLASSIFICATION,
    "segmentation": quick_training.SEGMENTATION,
    "detection": quick_training.DETECTION,
}


class KilledHere(Exception):
    """Stands for the moment at which a process would be gone."""


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """The promise is for one machine kind; the number of threads is part of it."""
    torch.set_num_threads(1)


def make(folder: Path, document: dict[str, Any]) -> tuple[Task, Recipe]:
    wanted = recipe.check(document)
    cases = folder / "source"
    cases.mkdir(exist_ok=True)
    is_flat = wanted.kind == "classification"
    path = (
        quick_training.write_images(cases)
        if is_flat
        else quick_training.write_balls(cases, wanted.kind)
    )
    snapshot = manifest.freeze(path, wanted)
    kinds: dict[str, Any] = {
        "classification": (classification.preparation, classification.Classification),
        "segmentation": (segmentation.preparation, segmentation.Segmentation),
        "detection": (detection.preparation, detection.Detection),
    }
    preparation, task = kinds[wanted.kind]
    prepared = preparing.prepare(
        snapshot, wanted, preparation(wanted), folder / "cases", checkpoint=lambda: None
    )
    return task(recipe=wanted, prepared=prepared, device=torch.device("cpu")), wanted


def controls(folder: Path) -> Controls:
    return Controls(
        checkpoint=folder / "checkpoint",
        device=torch.device("cpu"),
        is_stopping=lambda: False,
        on_epoch=[].append,
    )


def are_equal(first: Weights, second: Weights) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def straight(task: Task, wanted: Recipe, folder: Path) -> Weights:
    return loop.train(task, wanted, "d", controls(folder))[0]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_same_recipe_on_the_same_cases_gives_the_same_weights(
    tmp_path: Path, kind: str
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    task, wanted = make(tmp_path, KINDS[kind])
    torch.rand(7)  # what was drawn before must not matter
    assert are_equal(straight(task, wanted, tmp_path / "a"), straight(task, wanted, tmp_path / "b"))


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    task, wanted = make(tmp_path, KINDS["classification"])
    other, reseeded = make(tmp_path, KINDS["classification"] | {"seed": 4})
    (tmp_path / "b").mkdir()
    assert not are_equal(
        straight(task, wanted, tmp_path), straight(other, reseeded, tmp_path / "b")
    )


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("steps", [1, 3])
def test_stopped_between_two_steps_it_goes_on_to_the_same_weights(
    tmp_path: Path, kind: str, steps: int
) -> None:
    (tmp_path / "whole").mkdir()
    task, wanted = make(tmp_path, KINDS[kind])
    whole = straight(task, wanted, tmp_path / "whole")
    left = [steps]

    def is_stopping() -> bool:
        left[0] -= 1
        return left[0] == 0

    with pytest.raises(Interrupted):
        loop.train(task, wanted, "d", replace(controls(tmp_path), is_stopping=is_stopping))
    assert are_equal(straight(task, wanted, tmp_path), whole)


def test_what_was_done_since_the_last_checkpoint_is_done_again(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    task, wanted = make(tmp_path, KINDS["classification"])
    whole = straight(task, wanted, tmp_path / "whole")

    def die_in_the_third_epoch(report: EpochReport) -> None:
        if report.epoch == 3:
            raise KilledHere

    with pytest.raises(KilledHere):
        loop.train(task, wanted, "d", replace(controls(tmp_path), on_epoch=die_in_the_third_epoch))
    assert are_equal(straight(task, wanted, tmp_path), whole)


def test_a_finished_training_asked_again_trains_no_more(tmp_path: Path) -> None:
    task, wanted = make(tmp_path, KINDS["classification"])
    weights = straight(task, wanted, tmp_path)
    epochs: list[EpochReport] = []
    again = loop.train(task, wanted, "d", replace(controls(tmp_path), on_epoch=epochs.append))
    assert are_equal(again[0], weights)
    assert epochs == []


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    task, wanted = make(tmp_path, KINDS["classification"])
    straight(task, wanted, tmp_path)
    with pytest.raises(TrainingRefused):
        loop.train(task, wanted, "another digest", controls(tmp_path))


def test_a_loss_that_is_not_finite_refuses_the_training(tmp_path: Path) -> None:
    document = KINDS["classification"] | {
        "optimiser": {"name": "sgd", "learning_rate": 1.0, "clip": None, "weight_decay": 1.0},
        "input": KINDS["classification"]["input"] | {"window": [0, 1e-30]},
    }
    task, wanted = make(tmp_path, document)

    class Diverging:
        def __getattr__(self, name: str) -> Any:
            return getattr(task, name)

        def loss(self, network: torch.nn.Module, batch: Any) -> torch.Tensor:
            return task.loss(network, batch) * float("nan")

    with pytest.raises(TrainingRefused) as refused:
        loop.train(Diverging(), wanted, "d", controls(tmp_path))  # type: ignore[arg-type]
    assert refused.value.reason is Reason.TRAINING_DIVERGED


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_answers_that_are_not_finite_refuse_the_training(tmp_path: Path, score: float) -> None:
    wanted = quick_learning.recipe_of({}, epochs=3)
    with pytest.raises(TrainingRefused) as refused:
        loop.train(Line(scores=[-1.0, score]), wanted, "d", quick_learning.controls(tmp_path))
    assert refused.value.reason is Reason.TRAINING_DIVERGED


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step", "plateau"])
def test_stopped_after_the_last_step_of_the_first_epoch_it_goes_on_to_the_same_weights(
    tmp_path: Path, schedule: str
) -> None:
    (tmp_path / "whole").mkdir()
    wanted = quick_learning.recipe_of({"schedule": schedule, "warm_up": 2}, epochs=4)
    whole = straight(Line(), wanted, tmp_path / "whole")
    steps: list[StepReport] = []
    stopping = replace(
        quick_learning.controls(tmp_path),
        is_stopping=lambda: len(steps) == Line().steps(0),
        on_step=steps.append,
    )
    with pytest.raises(Interrupted):
        loop.train(Line(), wanted, "d", stopping)
    assert steps[-1].step == steps[-1].steps
    assert are_equal(straight(Line(), wanted, tmp_path), whole)


def test_early_stopping_ends_before_the_last_epoch(tmp_path: Path) -> None:
    document = KINDS["classification"] | {"epochs": 60, "early_stopping": {"patience": 2}}
    task, wanted = make(tmp_path, document | {"optimiser": {"learning_rate": 1e-9}})
    _, progress = loop.train(task, wanted, "d", controls(tmp_path))
    assert progress.epoch < 60
    assert progress.epoch - progress.best_epoch == 2


def test_only_a_look_at_the_validation_part_stops_a_training(tmp_path: Path) -> None:
    wanted = quick_learning.recipe_of(
        {}, epochs=12, validate_every=4, early_stopping={"patience": 3}
    )
    task = Line(scores=[-2.0, -1.0, -1.5])
    _, progress = loop.train(task, wanted, "d", quick_learning.controls(tmp_path))
    assert [epoch.score for epoch in progress.history if epoch.score] == [-2.0, -1.0, -1.5]
    assert progress.best_epoch == 8


def test_without_a_validation_part_the_last_weights_stand(tmp_path: Path) -> None:
    wanted = quick_learning.recipe_of({}, epochs=6, early_stopping={"patience": 2})
    task = Line(scores=[None] * 6)
    weights, progress = loop.train(task, wanted, "d", quick_learning.controls(tmp_path))
    assert (progress.best_epoch, progress.best_score) == (6, None)
    assert weights.keys() == task.network().state_dict().keys()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_learns_in_mixed_precision_by_its_average_and_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(optimisation, "has_amx", lambda: True)
    optimiser = {"learning_rate": 0.02, "amp": True, "ema": 0.9, "accumulate": 2, "l1": 1e-4}
    (tmp_path / "whole").mkdir()
    task, wanted = make(tmp_path, KINDS[kind] | {"optimiser": optimiser, "epochs": 2})
    weights, progress = loop.train(task, wanted, "d", controls(tmp_path / "whole"))
    assert all(math.isfinite(epoch.loss) for epoch in progress.history)
    assert {tensor.dtype for tensor in weights.values() if tensor.is_floating_point()} == {
        torch.float32
    }
    assert all(tensor.is_contiguous() for tensor in weights.values())

    def die_in_the_first_epoch(report: EpochReport) -> None:
        if report.epoch == 1:
            raise KilledHere

    dying = replace(controls(tmp_path), on_epoch=die_in_the_first_epoch)
    with pytest.raises(KilledHere):
        loop.train(task, wanted, "d", dying)
    assert are_equal(straight(task, wanted, tmp_path), weights)


def test_it_learns(tmp_path: Path) -> None:
    task, wanted = make(tmp_path, KINDS["classification"] | {"epochs": 12})
    _, progress = loop.train(task, wanted, "d", controls(tmp_path))
    assert progress.best_score is not None
    assert progress.best_score > -0.3  # cross-entropy; a coin gives 0.69
    assert progress.history[-1].losses["loss"] < progress.history[0].losses["loss"]


KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
import torch
from tests.pipeline.training import test_loop as here
torch.set_num_threads(1)
folder = Path(sys.argv[1])
task, wanted = here.make(folder, here.KINDS[sys.argv[2]])
def die(report):
    if report.epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)
here.loop.train(task, wanted, "d", replace(here.controls(folder), on_epoch=die))
"""


@pytest.mark.system
def test_two_epochs_a_kill_and_two_epochs_are_four_epochs(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    task, wanted = make(tmp_path, KINDS["classification"])
    whole = straight(task, wanted, tmp_path / "whole")
    program = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "killed"), "classification"],
        check=False,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert program.returncode == -signal.SIGKILL
    again, same = make(tmp_path / "killed", KINDS["classification"])
    assert are_equal(straight(again, same, tmp_path / "killed"), whole)
