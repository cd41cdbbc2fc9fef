"""``nightshift train`` where no services run; its own stand for themselves here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from api.cli.recipes import read_recipe
from records import training_requests, trainings
from records.database import unit_of_work
from records.trainings import NewTraining
from tests.api.cli.conftest import Home, Shell
from worker.queue import embedded
from worker.queue.settings import Settings


@pytest.fixture
def words(tmp_path: Path) -> tuple[str, ...]:
    """The words of a command that trains."""
    (tmp_path / "mine.yaml").write_text("epochs: 3\nname: mine\n")
    (tmp_path / "cases.csv").write_text("image,label,patient_id\n")
    return ("train", str(tmp_path / "mine.yaml"), "--manifest", str(tmp_path / "cases.csv"))


@pytest.fixture(autouse=True)
def services(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Services of a command that cancel what they are told of, in place of training it."""

    def cancel() -> None:
        with unit_of_work(home.sessions) as session:
            for wake in trainings.to_publish(session, lane="new", resend_after=timedelta(0)):
                training_requests.cancel(session, wake.id, by="services")

    @contextmanager
    def opened(settings: Settings) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(settings=settings.model_copy(update={"lane": "new"}), poll=cancel)

    monkeypatch.setattr(embedded, "open_training", opened)


def test_the_same_command_goes_on_with_a_training_that_was_paused(
    shell: Shell, home: Home, words: tuple[str, ...]
) -> None:
    wish = NewTraining(recipe=read_recipe(words[1]), manifest=words[3], lane="gone")
    with unit_of_work(home.sessions) as session:
        paused = trainings.create(session, wish, by="tester").id
        training_requests.pause(session, paused, by="tester")
    said = shell(*words)
    assert f"Taking up training {str(paused)[:8]}" in said.err
    assert f"Training {paused}: canceled" in said.out


def test_a_key_that_stands_for_another_training_is_wrong_usage(
    shell: Shell, words: tuple[str, ...]
) -> None:
    assert "canceled" in shell(*words, "--idempotency-key", "K").out
    Path(words[1]).write_text("epochs: 4\nname: mine\n")
    said = shell(*words, "--idempotency-key", "K")
    assert said.code == 2
    assert "The idempotency key was used for another training." in said.err
