"""Schedules on both databases: slots run once, missed ones collapse, two beats never double."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from records import schedules
from records.database import reading, unit_of_work
from records.schedules import CronInvalid, NewSchedule, ScheduleMissing, ScheduleTaken
from records.tables import Schedule, ScheduleRun, Training

Sessions = sessionmaker[Session]
CREATED = datetime(2024, 2, 1, 12, 0, tzinfo=UTC)


def add(sessions: Sessions, *, name: str = "nightly", cron: str = "0 3 * * *") -> None:
    new = NewSchedule(name=name, cron=cron, recipe={"name": "unet"}, manifest="cases.csv")
    with unit_of_work(sessions) as session:
        schedules.add(session, new, by="ada")
        session.execute(update(Schedule).values(created_at=CREATED))


def due(sessions: Sessions, at: datetime) -> list[uuid.UUID]:
    with unit_of_work(sessions) as session:
        return schedules.due(session, at)


def slots(sessions: Sessions) -> list[datetime]:
    with reading(sessions) as session:
        return list(session.scalars(select(ScheduleRun.slot).order_by(ScheduleRun.slot)))


def test_nothing_is_due_before_the_first_slot(sessions: Sessions) -> None:
    add(sessions)
    assert due(sessions, datetime(2024, 2, 2, 2, 59, 59, tzinfo=UTC)) == []


def test_a_slot_makes_one_training_however_often_it_is_asked(sessions: Sessions) -> None:
    add(sessions)
    (made,) = due(sessions, datetime(2024, 2, 2, 3, 0, tzinfo=UTC))
    assert due(sessions, datetime(2024, 2, 2, 3, 0, 1, tzinfo=UTC)) == []
    with reading(sessions) as session:
        training = session.get_one(Training, made)
        assert training.manifest == "cases.csv"
        assert training.created_by == "schedule nightly"
        run = session.scalars(select(ScheduleRun)).one()
        assert (run.slot, run.training_id) == (datetime(2024, 2, 2, 3, 0, tzinfo=UTC), made)


def test_of_missed_slots_only_the_latest_runs(sessions: Sessions) -> None:
    add(sessions)
    assert len(due(sessions, datetime(2024, 2, 9, 10, 0, tzinfo=UTC))) == 1
    assert slots(sessions) == [datetime(2024, 2, 9, 3, 0, tzinfo=UTC)]


def test_cron_is_read_in_utc_whatever_zone_is_asked_in(sessions: Sessions) -> None:
    add(sessions)
    from zoneinfo import ZoneInfo

    due(sessions, datetime(2024, 2, 2, 6, 0, tzinfo=ZoneInfo("Asia/Kolkata")))  # 00:30 UTC
    assert slots(sessions) == []


def test_beats_at_the_same_moment_run_a_slot_once(sessions: Sessions) -> None:
    add(sessions)
    at = datetime(2024, 2, 2, 3, 0, tzinfo=UTC)
    with ThreadPoolExecutor(4) as pool:
        made = [done.result() for done in [pool.submit(due, sessions, at) for _ in range(4)]]
    assert sorted(len(ids) for ids in made) == [0, 0, 0, 1]
    with reading(sessions) as session:
        assert len(session.scalars(select(Training)).all()) == 1


def test_every_minute_is_a_slot_of_its_own(sessions: Sessions) -> None:
    add(sessions, cron="* * * * *")
    for minute in (1, 2, 3):
        assert len(due(sessions, CREATED + timedelta(minutes=minute))) == 1


def test_a_disabled_schedule_is_never_due(sessions: Sessions) -> None:
    add(sessions)
    with unit_of_work(sessions) as session:
        session.execute(update(Schedule).values(enabled=False))
    assert due(sessions, datetime(2024, 2, 3, tzinfo=UTC)) == []


def test_a_line_that_is_no_longer_read_stops_its_schedule_and_no_other(sessions: Sessions) -> None:
    add(sessions, name="broken")
    with unit_of_work(sessions) as session:
        session.execute(update(Schedule).values(cron="never"))
    add(sessions)
    assert len(due(sessions, datetime(2024, 2, 2, 3, 0, tzinfo=UTC))) == 1
    with reading(sessions) as session:
        assert {row.name: row.enabled for row in schedules.every(session)} == {
            "broken": False,
            "nightly": True,
        }


@pytest.mark.parametrize("cron", ["", "x", "* * * *", "* * * * * *", "0 0 31 2 *", "61 * * * *"])
def test_a_line_that_is_not_cron_is_refused(sessions: Sessions, cron: str) -> None:
    with pytest.raises(CronInvalid):
        add(sessions, cron=cron)


def test_a_name_is_used_once(sessions: Sessions) -> None:
    add(sessions)
    with pytest.raises(ScheduleTaken):
        add(sessions)


def test_a_removed_schedule_leaves_its_trainings(sessions: Sessions) -> None:
    add(sessions)
    (made,) = due(sessions, datetime(2024, 2, 2, 3, 0, tzinfo=UTC))
    with unit_of_work(sessions) as session:
        schedules.remove(session, "nightly", by="ada")
    with reading(sessions) as session:
        assert session.get_one(Training, made).created_by == "schedule nightly"
        assert schedules.every(session) == []
    add(sessions)


def test_removing_or_running_what_is_not_there_is_named(sessions: Sessions) -> None:
    with pytest.raises(ScheduleMissing), unit_of_work(sessions) as session:
        schedules.remove(session, "nightly", by="ada")
    with pytest.raises(ScheduleMissing), unit_of_work(sessions) as session:
        schedules.run(session, "nightly", by="ada")


def test_a_schedule_can_be_run_beside_its_slots(sessions: Sessions) -> None:
    add(sessions)
    with unit_of_work(sessions) as session:
        first, second = (schedules.run(session, "nightly", by="ada").id for _ in range(2))
    assert first != second
    assert slots(sessions) == []
