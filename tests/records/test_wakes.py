"""Only a window of wake-ups is outstanding; lost ones are sent again, ever more rarely."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from records import jobs, scans
from records.base import JobStatus
from records.batches import NewBatch
from records.database import reading, unit_of_work
from records.tables import Job
from records.wakes import Wake
from tests.records.conftest import Rows
from worker.queue import messages

RESEND = timedelta(seconds=8)


def _publish(rows: Rows, *, window: int = 3, lane: str = "shared") -> list[Wake]:
    with unit_of_work(rows.sessions) as session:
        return jobs.to_publish(session, lane=lane, window=window, resend_after=RESEND)


def _sent_ago(rows: Rows, job: uuid.UUID, ago: float, *, count: int = 1) -> None:
    at = datetime.now(UTC) - timedelta(seconds=ago)
    with unit_of_work(rows.sessions) as session:
        session.execute(
            update(Job).where(Job.id == job).values(published_at=at, publish_count=count)
        )


def test_only_a_window_is_outstanding(rows: Rows) -> None:
    rows.jobs(5)

    assert len(_publish(rows)) == 3
    assert _publish(rows) == []


def test_a_claim_makes_room_in_the_window(rows: Rows) -> None:
    rows.jobs(5)
    first = _publish(rows)
    with unit_of_work(rows.sessions) as session:
        jobs.claim(session, first[0].id, owner="a", lease=RESEND)

    assert len(_publish(rows)) == 1


def test_each_queue_has_a_window_of_its_own(rows: Rows) -> None:
    rows.jobs(4, queue="infer.routine")
    rows.jobs(1, queue="infer.stat")
    rows.jobs(4, queue="infer.urgent")

    queues = [wake.queue for wake in _publish(rows, window=2)]

    assert sorted(queues) == ["infer.routine"] * 2 + ["infer.stat"] + ["infer.urgent"] * 2


def test_the_oldest_go_first(rows: Rows) -> None:
    young = rows.job(created_at=datetime(2026, 1, 3, tzinfo=UTC))
    old = rows.job(created_at=datetime(2026, 1, 2, tzinfo=UTC))

    assert [wake.id for wake in _publish(rows)] == [old, young]


def test_what_backs_off_is_passed_over(rows: Rows) -> None:
    rows.job(not_before=datetime.now(UTC) + timedelta(hours=1))
    due = rows.job(not_before=datetime.now(UTC) - timedelta(seconds=1))

    assert [wake.id for wake in _publish(rows)] == [due]


@pytest.mark.parametrize(
    ("ago", "count", "again"),
    [(5, 1, False), (11, 1, True), (11, 2, False), (21, 2, True), (44, 9, False), (76, 9, True)],
)
def test_an_unanswered_wake_up_is_sent_again_ever_more_rarely(
    rows: Rows, ago: float, count: int, *, again: bool
) -> None:
    job = rows.job()
    _sent_ago(rows, job, ago, count=count)

    assert [wake.id for wake in _publish(rows)] == ([job] if again else [])


def test_a_resend_is_counted(rows: Rows) -> None:
    job = rows.job()
    _sent_ago(rows, job, 100)
    _publish(rows)

    with reading(rows.sessions) as session:
        assert session.scalars(select(Job.publish_count)).one() == 2


def test_only_waiting_jobs_of_the_lane_are_announced(rows: Rows) -> None:
    rows.job(status=JobStatus.RUNNING)
    rows.job(status=JobStatus.FAILED)
    ours = rows.job(lane="mine")

    assert [wake.id for wake in _publish(rows, lane="mine")] == [ours]
    assert _publish(rows) == []


def test_the_queues_are_those_that_workers_listen_to() -> None:
    assert scans.SCAN_QUEUE == messages.SCAN
    assert NewBatch(source="in", analyses=[]).queue in messages.INFER_QUEUES
