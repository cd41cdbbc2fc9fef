"""The desk looks at drift: what it keeps, and when it looks again."""

from __future__ import annotations

import argparse
import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, sessionmaker

from records import drifts
from records.database import reading, unit_of_work
from records.observations import Window
from records.tables import DriftReport
from tests.records.answered import AT, Answered, scores
from worker import drift
from worker.looking import look_at_drift

Sessions = sessionmaker[Session]
WINDOW = Window(size=40)


@pytest.fixture
def world(sessions: Sessions) -> Answered:
    """Forty jobs of one scanner."""
    made = Answered(sessions)
    add(made, range(40), manufacturer="Acme")
    return made


def add(world: Answered, numbers: range, **attributes: Any) -> None:
    for number in numbers:
        report = {"inputs": {"image": [{"intensity": {"mean": float(number % 7)}}]}}
        at = AT + timedelta(minutes=number)
        world.job(number, scores(0.9), attributes=attributes, report=report, finished_at=at)


def latest(sessions: Sessions) -> DriftReport:
    with reading(sessions) as session:
        found = drifts.latest(session, "light")
    assert found is not None
    return found


def test_another_scanner_is_a_drift_and_the_report_says_which_value(
    sessions: Sessions, world: Answered
) -> None:
    add(world, range(40, 80), manufacturer="Other")
    assert drift.look(sessions, "light", WINDOW, by="desk") is True
    said = latest(sessions).document
    assert (said["reference"]["jobs"], said["current"]["jobs"]) == (40, 40)
    assert said["models"] == {"look": "quick@1.0"}
    first, *others = said["comparisons"]
    assert (first["name"], first["drifted"]) == ("tag.manufacturer", True)
    assert not any(other["drifted"] for other in others)
    assert "intensity.mean" in {other["name"] for other in others}


def test_more_of_the_same_is_no_drift(sessions: Sessions, world: Answered) -> None:
    add(world, range(40, 80), manufacturer="Acme")
    assert drift.look(sessions, "light", WINDOW, by="desk") is False


def test_a_look_is_taken_when_something_is_new_and_the_last_is_long_ago(
    sessions: Sessions, world: Answered
) -> None:
    def look(every: timedelta) -> int:
        drift.look_at_all(sessions, WINDOW, every=every, by="desk")
        with reading(sessions) as session:
            return session.scalars(select(func.count()).select_from(DriftReport)).one()

    hour = timedelta(hours=1)
    assert look(hour) == 1
    assert look(timedelta(0)) == 1  # nothing has ended since
    with unit_of_work(sessions) as session:
        session.execute(update(DriftReport).values(created_at=AT))
    assert look(timedelta(days=100_000)) == 1
    assert look(hour) == 2
    assert world.sessions is sessions


def test_an_analysis_that_never_answered_has_no_report(sessions: Sessions) -> None:
    assert drift.look(sessions, "light", WINDOW, by="desk") is None


def test_the_verb_keeps_a_look_and_says_one_against_a_stated_time(
    sessions: Sessions,
    world: Answered,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    add(world, range(40, 80), manufacturer="Other")
    monkeypatch.setenv("NIGHTSHIFT_DATABASE_URL", database_url)
    words = {"analysis": "light", "since": AT, "until": AT + timedelta(minutes=40)}
    assert look_at_drift(argparse.Namespace(**words)) == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert (said["analysis"], said["drifted"]) == ("light", True)
    assert said["document"]["reference"]["jobs"] == 40
    with reading(sessions) as session:
        assert drifts.latest(session, "light") is None
    assert look_at_drift(argparse.Namespace(analysis=None, since=None, until=None)) == 0
    assert not latest(sessions).drifted  # the current window is empty: 200 jobs are the reference
    assert look_at_drift(argparse.Namespace(**words | {"analysis": "other"})) == 3
