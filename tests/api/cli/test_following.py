"""How a training is told while somebody waits for it."""

from __future__ import annotations

import sys
import uuid
from types import SimpleNamespace
from typing import Any

import pytest

from api.cli import following
from api.cli.epochs import progress_words, share_done
from api.cli.following import TELL_ANYHOW_EVERY, Lines, display
from records.base import TrainingStatus
from records.database import DatabaseUnavailable
from records.troubles import Trouble

WITHIN: dict[str, Any] = {
    "phase": "training",
    "epoch": 3,
    "epochs": 10,
    "batch": 12,
    "batches": 48,
    "loss": 0.48531,
    "cases_per_second": 41.26,
    "seconds_left": 760.0,
}


def test_within_an_epoch_the_batch_the_speed_and_the_time_left_are_told() -> None:
    assert progress_words(WITHIN) == (
        "epoch 3 of 10, batch 12 of 48, loss 0.4853, 41.3 cases/s, about 12 min 40 s left"
    )
    assert "batch" not in progress_words(WITHIN | {"batch": 0})


@pytest.mark.parametrize(
    ("progress", "share"),
    [
        ({"phase": "reading"}, None),
        ({"phase": "training", "batch": 3, "batches": 4}, None),
        (WITHIN, 0.325),
        (WITHIN | {"batch": 0}, 0.3),
        ({"epoch": 10, "epochs": 10}, 1.0),
    ],
)
def test_a_bar_shows_the_share_of_all_epochs(progress: dict[str, Any], share: float | None) -> None:
    assert share_done(progress) == (None if share is None else pytest.approx(share))


def test_a_log_gets_a_line_for_each_epoch_and_few_within_one() -> None:
    told: list[str] = []
    now = [0.0]
    lines = Lines(told.append, lambda: now[0])
    for batch in range(1, 200):
        now[0] += 1.0
        lines.show(WITHIN | {"batch": batch, "batches": 200})
    assert len(told) == 1 + int(198 // TELL_ANYHOW_EVERY)
    lines.show(WITHIN | {"epoch": 4, "batch": 0})
    lines.show(WITHIN | {"epoch": 4, "phase": "evaluating"})
    assert told[-2].startswith("epoch 4 of 10, loss")
    assert told[-1] == "evaluating"


def test_following_a_training_outlasts_a_database_that_is_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = SimpleNamespace(progress=WITHIN, status=TrainingStatus.SUCCEEDED)
    answers = iter([None, None, ended])

    def read(*_: object) -> object:
        answer = next(answers)
        if answer is None:
            raise DatabaseUnavailable(Trouble.REFUSED)
        return answer

    monkeypatch.setattr(following, "read", read)
    monkeypatch.setattr(following, "LOOK_EVERY", 0.0)
    following.follow(SimpleNamespace(), uuid.uuid4())  # type: ignore[arg-type]
    said = capsys.readouterr().err
    assert said.count("Waiting for it") == 1
    assert "epoch 3 of 10" in said


def test_nothing_new_is_told_twice() -> None:
    told: list[str] = []
    now = [0.0]
    lines = Lines(told.append, lambda: now[0])
    for _ in range(3):
        lines.show({"phase": "reading"})
        now[0] += 2 * TELL_ANYHOW_EVERY
    assert told == ["reading"]


def test_on_a_terminal_a_bar_is_drawn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    with display() as show:
        show({"phase": "reading"})
        show(WITHIN)
    drawn = capsys.readouterr().err
    assert "epoch 3 of 10, batch 12 of 48" in drawn
    assert "\N{BOX DRAWINGS HEAVY HORIZONTAL}" in drawn
