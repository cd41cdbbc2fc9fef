"""A version is recalled: its results are taken back, and no job runs it any more."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from records import models, requests
from records.base import JobStatus, Stage, Withdrawal
from records.database import now, reading, unit_of_work
from records.models import StageRefused
from records.recalls import Recalled
from records.standing import Standing
from records.tables import AuditRecord, Job, JobModel
from tests.records.nights import Nights


def job_of(nights: Nights, job: uuid.UUID) -> Job:
    with reading(nights.sessions) as session:
        return session.get_one(Job, job)


def test_a_recall_takes_back_every_result_and_goes_back_to_what_was_active(nights: Nights) -> None:
    old = nights.analyse()
    nights.promote("1.1")
    new = nights.analyse()
    nights.recall("1.1")
    assert nights.standing(old, new) == [Standing.IN_FORCE, Standing.RECALLED]
    with reading(nights.sessions) as session:
        recalled = models.get(session, "lung", "1.1")
        assert (recalled.stage, recalled.withdrawn) == (Stage.RETIRED, Withdrawal.RECALLED)
        assert models.get(session, "lung", "1.0").stage is Stage.ACTIVE
        last = session.scalars(select(AuditRecord).order_by(AuditRecord.sequence.desc())).first()
        assert last is not None
        assert (last.event_id, last.detail["active"]) == ("model.recalled", "1.0")
    with pytest.raises(StageRefused, match="recalled already"):
        nights.recall("1.1")


def test_a_job_that_waits_for_a_recalled_version_runs_the_active_one(nights: Nights) -> None:
    nights.promote("1.1")
    ended, waiting = nights.analyse(), nights.analyse(status=JobStatus.QUEUED)
    running = nights.analyse(status=JobStatus.RUNNING)
    done = nights.recall("1.1")
    assert done == Recalled(active="1.0", rebound=1, canceled=0, running=1)
    assert nights.version_of(waiting) == "1.0"
    assert [nights.version_of(job) for job in (ended, running)] == ["1.1", "1.1"]
    (rebound,) = nights.events("job.rebound")
    assert rebound.participant_object_id == str(waiting)
    assert rebound.detail == {"step": "lungs", "model": "lung", "from": "1.1", "to": "1.0"}
    (recalled,) = nights.events("model.recalled")
    assert recalled.detail.items() >= {"rebound": 1, "canceled": 0, "running": 1}.items()
    assert nights.claim(waiting) is not None


def test_where_no_version_is_active_what_waits_is_canceled_until_one_is(nights: Nights) -> None:
    waiting = nights.analyse(status=JobStatus.QUEUED)
    done = nights.recall("1.0")
    assert done == Recalled(active=None, rebound=0, canceled=1, running=0)
    job = job_of(nights, waiting)
    assert (job.status, job.reason) == (JobStatus.CANCELED, "run.canceled")
    assert job.detail == "lung 1.0 was recalled, and no version of lung is active."
    assert [one.participant_object_id for one in nights.events("job.canceled")] == [str(waiting)]
    nights.promote("1.1")
    with unit_of_work(nights.sessions) as session:
        requests.retry(session, waiting, by="ada")
    assert nights.claim(waiting) is not None
    assert nights.version_of(waiting) == "1.1"


def test_a_failed_job_that_is_tried_again_runs_no_recalled_version(nights: Nights) -> None:
    nights.promote("1.1")
    failed = nights.analyse(status=JobStatus.FAILED)
    nights.recall("1.1")
    with unit_of_work(nights.sessions) as session:
        requests.retry(session, failed, by="ada")
    assert nights.claim(failed) is not None
    assert nights.version_of(failed) == "1.0"
    assert len(nights.events("job.rebound")) == 1


def test_a_failed_job_is_canceled_where_no_version_stands_in_for_its_own(nights: Nights) -> None:
    failed = nights.analyse(status=JobStatus.FAILED)
    nights.recall("1.0")
    with unit_of_work(nights.sessions) as session:
        requests.retry(session, failed, by="ada")
    assert nights.claim(failed) is None
    job = job_of(nights, failed)
    assert (job.status, job.owner) == (JobStatus.CANCELED, None)
    assert job.detail == "lung 1.0 was recalled, and no version of lung is active."


def test_a_job_whose_worker_was_lost_over_a_recall_runs_the_active_version(nights: Nights) -> None:
    nights.promote("1.1")
    lost = nights.analyse(status=JobStatus.QUEUED)
    assert nights.claim(lost) is not None
    assert nights.recall("1.1").running == 1
    with unit_of_work(nights.sessions) as session:
        over = now(session) - timedelta(seconds=1)
        session.execute(update(Job).where(Job.id == lost).values(lease_until=over))
    assert nights.claim(lost) is not None
    assert nights.version_of(lost) == "1.0"


def test_what_is_bound_to_a_version_that_was_rolled_back_stays_so(nights: Nights) -> None:
    nights.promote("1.1")
    waiting = nights.analyse(status=JobStatus.QUEUED)
    with unit_of_work(nights.sessions) as session:
        models.rollback(session, "lung", by="grace", why="a bad night")
    assert nights.claim(waiting) is not None
    assert nights.version_of(waiting) == "1.1"


def test_more_jobs_wait_than_fit_a_statement(nights: Nights) -> None:
    nights.promote("1.1")
    waiting = [
        nights.analyse(study=f"1.2.840.{number}", status=JobStatus.QUEUED) for number in range(3)
    ]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("records.bindings._CHUNK", 2)
        assert nights.recall("1.1").rebound == 3
    with reading(nights.sessions) as session:
        active = models.active(session, "lung")
        assert active is not None
        bound = set(session.scalars(select(JobModel.model_version_id)))
        assert bound == {active.id}
    assert all(nights.claim(job) for job in waiting)
