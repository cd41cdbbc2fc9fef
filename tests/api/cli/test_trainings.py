"""``nightshift train`` and ``trainings``, where services run and where none do."""

from __future__ import annotations

import uuid
from datetime import timedelta
from pathlib import Path

import pytest

from api.cli.recipes import read_recipe
from records import training_requests, trainings
from records.database import unit_of_work
from records.trainings import NewTraining
from tests.api.cli.conftest import Home, Shell

RECIPE = "epochs: 3\nname: mine\n"


@pytest.fixture
def words(tmp_path: Path) -> tuple[str, ...]:
    """The words of a command that trains."""
    (tmp_path / "mine.yaml").write_text(RECIPE)
    (tmp_path / "cases.csv").write_text("image,label,patient_id\n")
    return ("train", str(tmp_path / "mine.yaml"), "--manifest", str(tmp_path / "cases.csv"))


@pytest.fixture
def paused(home: Home, words: tuple[str, ...]) -> uuid.UUID:
    """A training that was paused, of a command that is gone."""
    wish = NewTraining(recipe=read_recipe(words[1]), manifest=words[3], lane="train-gone")
    with unit_of_work(home.sessions) as session:
        made = trainings.create(session, wish, by="tester").id
        training_requests.pause(session, made, by="tester")
    return made


@pytest.fixture
def services(home_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Services that run, as far as a command can tell that only writes rows."""
    monkeypatch.setenv("NIGHTSHIFT_BROKER_URL", "redis://localhost:1/0")


@pytest.mark.usefixtures("services")
def test_a_resumed_training_whose_own_trainer_is_gone_comes_to_the_running_services(
    shell: Shell, home: Home, paused: uuid.UUID
) -> None:
    said = shell("trainings", "resume", str(paused))
    assert (said.code, said.err) == (0, "")
    assert said.out.endswith("was asked to go on: queued.\n")
    assert announced(home) == [paused]


def test_without_services_a_resumed_training_waits_for_its_command(
    shell: Shell, home: Home, paused: uuid.UUID
) -> None:
    said = shell("trainings", "resume", str(paused))
    assert said.code == 0
    assert "`nightshift train` command" in said.err
    assert announced(home) == []
    assert announced(home, "train-gone") == [paused]


@pytest.mark.usefixtures("services")
def test_a_resumed_training_of_the_services_stays_with_them(
    shell: Shell, home: Home, words: tuple[str, ...]
) -> None:
    made = shell(*words, "--json").json["id"]
    assert shell("trainings", "pause", made).code == 0
    assert shell("trainings", "resume", made).err == ""
    assert announced(home) == [uuid.UUID(made)]
    assert [row["event_id"] for row in shell("audit", "list", "--json", "--limit", "3").json] == [
        "training.resumed",
        "training.pause_requested",
        "training.queued",
    ]


@pytest.mark.usefixtures("services")
def test_the_same_command_goes_on_with_the_training_that_was_cut_off_before_services_ran(
    shell: Shell, home: Home, paused: uuid.UUID, words: tuple[str, ...]
) -> None:
    said = shell(*words, "--json")
    assert said.json["id"] == str(paused)
    assert f"Taking up training {str(paused)[:8]}" in said.err
    assert announced(home) == [paused]


def announced(home: Home, lane: str = "shared") -> list[uuid.UUID]:
    """Return the trainings that the trainers of a lane are told of."""
    with unit_of_work(home.sessions) as session:
        wakes = trainings.to_publish(session, lane=lane, resend_after=timedelta(seconds=8))
    return [wake.id for wake in wakes]
