"""The table of the quality bench: what was reached, and by what it is told."""

from __future__ import annotations

import pytest

from bench.quality import __main__ as bench
from bench.quality import super_resolution, table
from bench.quality.plan import Ablation, Task
from bench.quality.table import Compared
from bench.quality.training import Outcome, TrainingEnded
from pipeline.evaluation.bootstrap import Interval
from pipeline.evaluation.comparison import Comparison, Decision

METRICS = {
    "patients": 6,
    "without_model": {"psnr_db": 31.5, "ssim": 0.9},
    **{
        name: {"value": 2.5, "low": 2.25, "high": 2.75, "patients": 6}
        for name in ("psnr_gain_db", "psnr_db", "ssim", "ssim_gain")
    },
}
(TASK,) = super_resolution.TASKS


def outcome(task: Task) -> Outcome:
    return Outcome(task=task.name, recipe_digest="", metrics=METRICS, seconds=90.0, bundle="")


def test_what_anybody_reaches_stands_beside_what_the_model_reaches() -> None:
    rows = list(table.trained([(TASK, outcome(TASK))]))
    name = "| t1-super-resolution"
    assert f"{name} | psnr_gain_db | 2.500 | 2.250 to 2.750 | 2 | 6 | 1.5 |" in rows
    assert f"{name} | without_model psnr_db | 31.500 |  |  | 6 | 1.5 |" in rows


def test_a_training_that_fails_costs_the_others_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def train(task: Task) -> Outcome:
        if task.name == "pneumonia":
            raise TrainingEnded("pneumonia: memory was used up")
        return outcome(task)

    every = bench._planned("TASKS", Task)
    trained = bench._outcomes(every, train, at_once=2)
    assert trained.keys() == {task.name for task in every} - {"pneumonia"}
    assert "pneumonia: memory was used up" in capsys.readouterr().err


def test_what_two_ablations_share_is_trained_once_and_the_longest_begins_first() -> None:
    begun: list[str] = []

    def train(task: Task) -> Outcome:
        begun.append(task.name)
        return outcome(task)

    every = bench._planned("TASKS", Task)
    bench._outcomes([*every, *every], train, at_once=1)
    minutes = {task.name: task.minutes for task in every}
    assert sorted(begun) == sorted(minutes)
    assert [minutes[name] for name in begun] == sorted(minutes.values(), reverse=True)
    assert len(set(minutes.values())) > 2


def test_an_ablation_states_the_mean_of_its_draws_and_the_gain_of_each() -> None:
    draws = [(TASK, TASK)] * 2
    found = Comparison(
        candidate=0.95,
        active=0.9,
        gain=0.05,
        interval=Interval(low=0.01, high=0.09),
        patients=40,
        decision=Decision.BETTER,
    )
    asked = Ablation(name="few", draws=draws, metric="accuracy")
    rows = [Compared(ablation=asked, found=found, gains=[0.08, 0.02], seconds=90.0)]
    *_, row = table.compared(rows)
    gain = "0.050, 0.010 to 0.090"
    assert row == f"| few | accuracy | 0.950 | 0.900 | {gain} | 0.080, 0.020 | better | 1.5 |"


def test_a_page_of_a_part_keeps_the_rows_of_the_rest_and_says_so() -> None:
    earlier = "\n".join(
        [*table.TRAINED, "| b | auc | 0.5 |", "| b | f1 | 0.6 |", "| a | auc | 0.1 |"]
    )
    kept = table.of_names(earlier, ["b", "c"])
    made = ["| a | auc | 0.9 |", "| d | auc | 0.8 |"]
    rows = bench._table(table.TRAINED, [*made, *kept], ["a", "b", "d"])
    assert rows == [*table.TRAINED, made[0], *kept, made[1]]
    assert bench._unasked(["b", "c"], {"b"}) == "\nFrom earlier runs: b. Not asked for: c.\n"
    assert bench._table(table.TRAINED, kept, ["a"]) == []
