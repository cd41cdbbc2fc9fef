"""Schedules that wait for new cases or a drift: once each, however many beats look."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from records import corrections, drifts, schedules
from records.corrections import NewCorrection, Verdict
from records.database import reading, unit_of_work
from records.drifts import NewDriftReport
from records.schedules import NewSchedule, TriggerInvalid
from records.tables import AuditRecord, DriftReport, Training
from tests.records.answered import Answered, scores

Sessions = sessionmaker[Session]


def add(sessions: Sessions, **trigger: Any) -> None:
    wish = {"name": "s", "recipe": {"name": "quick"}, "manifest": "cases.csv"}
    with unit_of_work(sessions) as session:
        schedules.add(session, NewSchedule(**(wish | trigger)), by="ada")


def due(sessions: Sessions) -> list[uuid.UUID]:
    with unit_of_work(sessions) as session:
        return schedules.due(session)


def correct(world: Answered, *numbers: int) -> int:
    """Accept answers; returns the number of the last correction."""
    last = 0
    for number in numbers:
        job = world.job(number, scores(0.9))
        new = NewCorrection(job_id=job, step="look", verdict=Verdict.ACCEPT)
        with unit_of_work(world.sessions) as session:
            last = corrections.add(session, new, by="grace").id
    return last


def look(sessions: Sessions, *, drifted: bool) -> None:
    new = NewDriftReport(analysis="light", version="1", drifted=drifted, document={})
    with unit_of_work(sessions) as session:
        drifts.add(session, new, by="desk")


def trainings(sessions: Sessions) -> list[Training]:
    with reading(sessions) as session:
        return list(session.scalars(select(Training).order_by(Training.created_at)))


def test_new_cases_start_a_training_that_is_frozen_at_the_last_of_them(sessions: Sessions) -> None:
    world = Answered(sessions)
    add(sessions, new_cases=2, analysis="light")
    correct(world, 1)
    assert due(sessions) == []
    last = correct(world, 2)
    assert len(due(sessions)) == 1
    (made,) = trainings(sessions)
    assert (made.corrections_of, made.corrections_up_to) == ("light", last)
    correct(world, 3)
    assert due(sessions) == []
    correct(world, 4)
    assert len(due(sessions)) == 1


def test_beats_at_the_same_moment_start_one_training_for_new_cases(sessions: Sessions) -> None:
    add(sessions, new_cases=1, analysis="light")
    correct(Answered(sessions), 1)
    with ThreadPoolExecutor(4) as pool:
        made = [done.result() for done in [pool.submit(due, sessions) for _ in range(4)]]
    assert sorted(map(len, made)) == [0, 0, 0, 1]
    assert due(sessions) == []


def test_a_drift_starts_one_training_until_it_has_gone(sessions: Sessions) -> None:
    add(sessions, on_drift=True, analysis="light")
    look(sessions, drifted=False)
    assert due(sessions) == []
    for _ in range(2):
        look(sessions, drifted=True)
    assert len(due(sessions)) == 1
    look(sessions, drifted=True)
    assert due(sessions) == []
    look(sessions, drifted=False)
    look(sessions, drifted=True)
    assert len(due(sessions)) == 1


def test_old_looks_are_forgotten_but_not_when_the_drift_that_there_is_began(
    sessions: Sessions,
) -> None:
    add(sessions, on_drift=True, analysis="light")
    looks = (True, False, True, True, True, True)
    for drifted in looks:
        look(sessions, drifted=drifted)
    assert len(due(sessions)) == 1
    with unit_of_work(sessions) as session:
        kept = list(session.scalars(select(DriftReport.id).order_by(DriftReport.created_at)))
        assert drifts.forget(session, keep=len(looks)) == 0
        assert drifts.forget(session, keep=2) == 3
        left = session.scalars(select(DriftReport.id).order_by(DriftReport.created_at)).all()
        assert left == [kept[2], *kept[-2:]]
    assert due(sessions) == []  # it is the same drift
    look(sessions, drifted=False)
    with unit_of_work(sessions) as session:
        assert drifts.forget(session, keep=1) == 3
        assert drifts.began(session, "light") is None


def test_looks_at_one_analysis_push_out_none_at_another(sessions: Sessions) -> None:
    for analysis in ("dark", "light", "light"):
        new = NewDriftReport(analysis=analysis, version="1", drifted=False, document={})
        with unit_of_work(sessions) as session:
            drifts.add(session, new, by="desk")
    with unit_of_work(sessions) as session:
        assert drifts.forget(session, keep=1) == 1
        assert [one.analysis for one in drifts.latest_of_all(session)] == ["dark", "light"]


def test_a_drift_of_another_analysis_starts_nothing(sessions: Sessions) -> None:
    add(sessions, on_drift=True, analysis="dark")
    look(sessions, drifted=True)
    assert due(sessions) == []


def test_beginning_and_end_of_a_drift_are_audited_and_the_looks_between_are_not(
    sessions: Sessions,
) -> None:
    for drifted in (False, True, True, False):
        look(sessions, drifted=drifted)
    with reading(sessions) as session:
        query = select(AuditRecord.event_id).where(AuditRecord.event_id.startswith("drift."))
        events = session.scalars(query.order_by(AuditRecord.sequence)).all()
        (latest,) = drifts.latest_of_all(session)
    assert events == ["drift.began", "drift.ended"]
    assert not latest.drifted


def test_a_cron_line_takes_the_corrections_of_its_analysis_along(sessions: Sessions) -> None:
    add(sessions, cron="0 3 * * *", analysis="light")
    last = correct(Answered(sessions), 1)
    with unit_of_work(sessions) as session:
        assert schedules.run(session, "s", by="ada").corrections_up_to == last


@pytest.mark.parametrize(
    "trigger",
    [
        {},
        {"new_cases": 0, "analysis": "light"},
        {"new_cases": 3},
        {"on_drift": True},
        {"cron": "0 3 * * *", "on_drift": True, "analysis": "light"},
    ],
)
def test_a_schedule_has_one_trigger_and_what_it_needs(
    sessions: Sessions, trigger: dict[str, Any]
) -> None:
    with pytest.raises(TriggerInvalid):
        add(sessions, **trigger)
