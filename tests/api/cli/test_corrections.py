"""``nightshift correct`` and ``corrections``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.api.cli.conftest import Home, Shell
from tests.records.answered import Answered, scores


@pytest.fixture
def answered(shell: Shell, home: Home) -> Answered:
    """Answers of an analysis of their own, in the records of the command line."""
    del shell
    return Answered(home.sessions)


def test_an_answer_is_replaced_and_what_was_said_is_listed(
    shell: Shell, answered: Answered
) -> None:
    job = str(answered.job(1, scores(0.9)))
    assert shell("correct", job, "accept", "--step", "look").code == 0
    assert shell("correct", job, "replace", "--step", "look", "--label", "bright").code == 0
    said = shell("corrections", "list", job, "--json").json
    assert [(row["verdict"], row["label"]) for row in said] == [
        ("accept", None),
        ("replace", "bright"),
    ]


def test_boxes_come_from_a_file(shell: Shell, home: Home, tmp_path: Path) -> None:
    job = str(Answered(home.sessions, "detection").job(1, []))
    boxes = tmp_path / "boxes.json"
    box = {"label": "bright", "centre": [1, 2, 3], "size": [1, 2, 3]}
    for text, code in ((json.dumps({"boxes": [box]}), 0), ("{}", 2), ("?", 2)):
        boxes.write_text(text)
        done = shell("correct", job, "replace", "--step", "look", "--boxes", str(boxes))
        assert done.code == code
    gone = shell("correct", job, "replace", "--step", "look", "--mask", str(tmp_path / "x"))
    assert gone.code == 2


@pytest.mark.parametrize(
    "words", [("maybe",), ("accept", "--label", "dark"), ("replace", "--label", "green")]
)
def test_what_does_not_fit_is_wrong_usage(
    shell: Shell, answered: Answered, words: tuple[str, ...]
) -> None:
    job = str(answered.job(1, scores(0.9)))
    assert shell("correct", job, *words, "--step", "look").code == 2


def test_the_least_sure_answers_are_listed(shell: Shell, answered: Answered) -> None:
    answered.job(1, scores(0.9))
    unsure = answered.job(2, scores(0.5))
    (case,) = shell("corrections", "uncertain", "--analysis", "light", "--most", "1", "--json").json
    assert case["job"] == str(unsure)


def test_a_training_that_is_not_there_is_neither_shown_nor_paused(shell: Shell, home: Home) -> None:
    del home
    for verb in ((), ("show",), ("pause",), ("resume",), ("cancel",)):
        assert shell("trainings", *verb, "ffffffff").code == 2
