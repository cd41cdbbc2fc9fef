"""Workers, people and upkeep at once: nobody deadlocks, nothing is lost, nothing is done twice."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from records import audit, batches, jobs
from records.base import JobStatus
from records.database import reading, unit_of_work
from records.leases import Fenced, Lease
from records.tables import Attempt, Job, Result
from records.transitions import JOB_ENDS
from tests.records.conftest import Rows

LEASE = timedelta(seconds=30)
OVER = timedelta(seconds=-1)
ROUNDS = 15


def test_all_at_once(rows: Rows) -> None:
    ids = rows.jobs(12, max_attempts=100)
    people = [_worker(rows, n) for n in range(3)] + [_upkeep(rows), _person(rows)]
    faults: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            for _ in range(ROUNDS):
                work()
        except BaseException as fault:  # noqa: BLE001 - handed to the asserting thread
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(work,)) for work in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert faults == []
    _finish(rows)
    with reading(rows.sessions) as session:
        statuses = session.scalars(select(Job.status)).all()
        succeeded = statuses.count(JobStatus.SUCCEEDED)
        assert len(statuses) == len(ids)
        assert set(statuses) <= set(JOB_ENDS)
        assert session.scalar(select(func.count()).select_from(Result)) == succeeded
        assert session.scalars(select(Attempt.id).where(Attempt.ended_at.is_(None))).all() == []
        assert audit.verify(session).ok


def _worker(rows: Rows, number: int) -> Callable[[], None]:
    """Claim what is announced; succeed, fail, stall or come too late."""
    dice = random.Random(number)  # noqa: S311 - a test's choice, repeatable

    def work() -> None:
        with unit_of_work(rows.sessions) as session:
            wakes = jobs.to_publish(session, lane="shared", window=4, resend_after=OVER)
        for wake in wakes:
            length = LEASE if dice.random() < 0.7 else OVER
            with unit_of_work(rows.sessions) as session:
                lease = jobs.claim(session, wake.id, owner=f"w{number}", lease=length)
            if lease is None or dice.random() < 0.2:  # taken by another; or its worker dies here
                continue
            try:
                with unit_of_work(rows.sessions) as session:
                    jobs.renew(session, [lease], length)
                with unit_of_work(rows.sessions) as session:
                    if dice.random() < 0.5:
                        _succeed(rows, session, lease)
                    else:
                        jobs.fail(session, lease, reason="run.error", detail="x", retry=True)
            except Fenced:
                continue

    return work


def _succeed(rows: Rows, session: Session, lease: Lease) -> None:
    result = jobs.NewResult(
        step="s", ordinal=0, kind="segment", label="x", model_version_id=rows.model_id
    )
    jobs.succeed(session, lease, results=[result], artifacts=[], report={})


def _upkeep(rows: Rows) -> Callable[[], None]:
    def work() -> None:
        with unit_of_work(rows.sessions) as session:
            jobs.expire(session, lane="shared")
            batches.expire_scans(session, lane="shared")
        with unit_of_work(rows.sessions) as session:
            batches.close_finished(session, lane="shared")
        with reading(rows.sessions) as session:
            backing_off = session.scalars(select(Job.id).where(Job.not_before.is_not(None))).all()
        for job in backing_off:  # so that the test need not wait
            with unit_of_work(rows.sessions) as session:
                session.execute(update(Job).where(Job.id == job).values(not_before=None))

    return work


def _person(rows: Rows) -> Callable[[], None]:
    def work() -> None:
        with unit_of_work(rows.sessions) as session:
            batches.cancel(session, rows.batch_id, by="tester")
        with unit_of_work(rows.sessions) as session:
            batches.retry(session, rows.batch_id, by="tester")

    return work


def _finish(rows: Rows) -> None:
    """Let what still runs be lost, and cancel what is left."""
    with unit_of_work(rows.sessions) as session:
        session.execute(
            update(Job)
            .where(Job.status == JobStatus.RUNNING)
            .values(lease_until=Job.created_at, max_attempts=0)
        )
        jobs.expire(session, lane="shared")
        batches.cancel(session, rows.batch_id, by="tester")
        batches.retry(session, rows.batch_id, by="tester", cause="nothing.at_all")
    with unit_of_work(rows.sessions) as session:
        for job in session.scalars(select(Job.id).where(Job.status == JobStatus.QUEUED)):
            jobs.cancel(session, job, by="tester")
