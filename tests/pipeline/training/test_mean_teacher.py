"""The mean teacher: an average of its student, and what both disagree about."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.errors import Interrupted
from pipeline.training import loop, mean_teacher
from pipeline.training.adversarial import Adversarial
from pipeline.training.fields import AdversarialField
from pipeline.training.mean_teacher import MeanTeacher, Pair
from pipeline.training.recipe import Recipe
from tests import quick_variants as quick

SEMI = {"batch": 4, "weight": 2.0, "ramp_up": 4, "decay": 0.9}


def teaching(folder: Path, document: dict, **more: object) -> tuple[MeanTeacher, Recipe]:
    wanted = quick.check(document, semi_supervised=SEMI | more, epochs=3)
    make = quick.images if wanted.kind == "classification" else quick.squares
    prepared = make(folder / "cases")
    assert wanted.semi_supervised is not None
    task = MeanTeacher(
        inner=quick.kind_task(wanted, prepared),
        wanted=wanted.semi_supervised,
        views=quick.views(wanted, prepared),
    )
    return task, wanted


def test_the_teacher_is_the_average_of_its_student() -> None:
    student = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(student.weight)
    pair = Pair(student)
    expected = 0.0
    for step in range(1, 30):
        nn.init.constant_(pair.student.weight, float(step))
        pair.follow(0.9)
        kept = min(0.9, 1 - 1 / (step + 1))
        expected = kept * expected + (1 - kept) * step
    assert float(pair.teacher.weight) == pytest.approx(expected, rel=1e-5)
    assert int(pair.steps) == 29


def test_the_teacher_counts_as_its_student_counts_and_is_never_in_training() -> None:
    pair = Pair(nn.Sequential(nn.BatchNorm1d(2), nn.Dropout()))
    pair.train()
    pair.student(torch.rand(4, 2))
    pair.follow(0.5)
    assert int(pair.teacher[0].num_batches_tracked) == 1
    assert torch.equal(pair.teacher[0].running_mean, pair.student[0].running_mean)
    assert pair.student.training
    assert not any(module.training for module in pair.teacher.modules())
    assert not any(one.requires_grad for one in pair.teacher.parameters())


def test_the_student_answers_in_training_and_the_teacher_in_use() -> None:
    pair = Pair(nn.Linear(1, 1, bias=False))
    nn.init.constant_(pair.student.weight, 5.0)
    nn.init.constant_(pair.teacher.weight, 7.0)
    assert float(pair.train()(torch.ones(1)).detach()) == 5.0
    assert float(pair.eval()(torch.ones(1)).detach()) == 7.0


def test_the_weight_of_the_disagreement_rises_and_then_stays(tmp_path: Path) -> None:
    task, _ = teaching(tmp_path, quick.PLAIN)
    weights = [next(task.batches(epoch, 0)).weight for epoch in range(6)]
    assert weights[0] == pytest.approx(2.0 * 0.00673795, rel=1e-4)
    assert weights == sorted(weights)
    assert weights[4] == weights[5] == 2.0


def test_equals_that_see_the_same_do_not_disagree(tmp_path: Path) -> None:
    task, _ = teaching(tmp_path, quick.FLAT)
    pair = task.network().eval()
    losses = task.loss(pair, next(task.batches(0, 0)))
    assert isinstance(losses, dict)
    assert set(losses) == {"labelled", "disagreement"}
    assert float(losses["disagreement"].detach()) == pytest.approx(0.0, abs=1e-10)


def test_a_disagreement_is_the_mean_square_of_the_scores_apart(tmp_path: Path) -> None:
    task, _ = teaching(tmp_path, quick.PLAIN, ramp_up=0)

    class Says(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.odds = nn.Parameter(torch.zeros(()))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.stack([self.odds, -self.odds]).expand(len(images), 2)

    pair = Pair(Says()).train()
    nn.init.constant_(pair.student.odds, 50.0)  # certain of the first; its teacher halves
    losses = task.loss(pair, next(task.batches(0, 0)))
    assert isinstance(losses, dict)
    assert float(losses["disagreement"].detach()) == pytest.approx(2.0 * 0.25)


def test_an_attack_is_on_the_student_that_learns(tmp_path: Path) -> None:
    task, _ = teaching(tmp_path, quick.PLAIN)
    attacked = AdversarialField(method="fgsm", epsilon=0.2)
    lesson = dataclasses.replace(task, inner=Adversarial(inner=task.inner, wanted=attacked))
    pair = task.network().train()
    assert isinstance(pair, Pair)
    asked: list[str] = []
    for name, network in (("student", pair.student), ("teacher", pair.teacher)):
        network.register_forward_hook(lambda *_, name=name: asked.append(name))
    lesson.loss(pair, next(lesson.batches(0, 0)))
    # of the teacher what it says of the images without a label, and nothing more
    assert asked.count("teacher") == 1
    assert asked.count("student") == 4


@pytest.mark.parametrize("document", [quick.PLAIN, quick.FLAT], ids=lambda one: one["kind"])
def test_stopped_it_goes_on_to_the_same_pair(tmp_path: Path, document: dict) -> None:
    task, wanted = teaching(tmp_path, document)
    whole, _ = loop.train(task, wanted, "d", quick.controls(tmp_path / "whole"))
    stopping = quick.controls(tmp_path / "stopped", quick.stopping_after(3))
    with pytest.raises(Interrupted):
        loop.train(task, wanted, "d", stopping)
    again, _ = loop.train(task, wanted, "d", quick.controls(tmp_path / "stopped"))
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert not torch.equal(whole["steps"], torch.zeros((), dtype=torch.int64))
    kept = mean_teacher.bundle_weights(whole)
    quick.kind_task(wanted, quick.Prepared(training=(), validation=())).network().load_state_dict(
        kept
    )
