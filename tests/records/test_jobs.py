"""A job is carried by one worker at a time, and its results are recorded once or not at all."""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from records import audit, jobs
from records.base import JobStatus
from records.database import reading, unit_of_work
from records.leases import Fenced, Lease
from records.tables import Artifact, Attempt, AuditRecord, Job, JobEvent, Result
from records.transitions import IllegalTransition, NoSuchRecord
from tests.records.conftest import Rows

LEASE = timedelta(seconds=30)
OVER = timedelta(seconds=-1)  # a lease that is over as soon as it is given


def _claim(rows: Rows, job: uuid.UUID, *, lease: timedelta = LEASE, owner: str = "a") -> Lease:
    with unit_of_work(rows.sessions) as session:
        taken = jobs.claim(session, job, owner=owner, lease=lease)
    assert taken is not None
    return taken


def _try_claim(rows: Rows, job: uuid.UUID) -> Lease | None:
    with unit_of_work(rows.sessions) as session:
        return jobs.claim(session, job, owner="b", lease=LEASE)


def _succeed(rows: Rows, lease: Lease, results: int = 2) -> None:
    with unit_of_work(rows.sessions) as session:
        jobs.succeed(
            session,
            lease,
            results=[_result(rows, i) for i in range(results)],
            artifacts=[_artifact("lungs.dcm")],
            report={"seconds": 1.5},
        )


def _result(rows: Rows, ordinal: int) -> jobs.NewResult:
    return jobs.NewResult(
        step="lungs",
        ordinal=ordinal,
        kind="segment",
        label="lung",
        value=1.25,
        unit="mL",
        model_version_id=rows.model_id,
        payload={"centroid": [1.0, 2.0, 3.0]},
    )


def _artifact(name: str) -> jobs.NewArtifact:
    return jobs.NewArtifact(
        name=name, kind="dicom-seg", media_type="application/dicom", sha256="a" * 64, size=5 * 2**32
    )


def _row(sessions: sessionmaker[Session], job: uuid.UUID) -> Job:
    with reading(sessions) as session:
        return session.get_one(Job, job)


def _all(sessions: sessionmaker[Session], table: type[Any]) -> list[Any]:
    with reading(sessions) as session:
        return list(session.scalars(select(table).order_by(table.id)))


def _backdate(rows: Rows, job: uuid.UUID, **columns: datetime | None) -> None:
    with unit_of_work(rows.sessions) as session:
        session.execute(update(Job).where(Job.id == job).values(**columns))


class TestClaim:
    def test_a_claim_counts_the_attempt_and_makes_a_token(self, rows: Rows) -> None:
        job = rows.job()

        lease = _claim(rows, job)

        assert (lease.attempt, lease.token, lease.owner) == (1, 1, "a")
        row = _row(rows.sessions, job)
        assert row.status is JobStatus.RUNNING
        assert row.started_at is not None
        attempt = _all(rows.sessions, Attempt)[0]
        assert (attempt.number, attempt.token, attempt.ended_at) == (1, 1, None)

    def test_a_second_delivery_finds_nothing_to_do(self, rows: Rows) -> None:
        job = rows.job()
        _claim(rows, job)

        assert _try_claim(rows, job) is None
        assert len(_all(rows.sessions, Attempt)) == 1

    def test_of_many_claimers_one_has_the_job(self, rows: Rows) -> None:
        job = rows.job()
        taken: list[Lease | None] = []
        start = threading.Barrier(6)

        def claimer() -> None:
            start.wait()
            taken.append(_try_claim(rows, job))

        threads = [threading.Thread(target=claimer) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(taken) == 6
        assert sum(lease is not None for lease in taken) == 1
        assert len(_all(rows.sessions, Attempt)) == 1

    def test_a_claim_takes_over_where_the_lease_ran_out(self, rows: Rows) -> None:
        job = rows.job()
        first = _claim(rows, job, lease=OVER)

        second = _try_claim(rows, job)

        assert second is not None
        assert (second.attempt, second.token) == (2, first.token + 1)
        outcomes = [attempt.outcome for attempt in _all(rows.sessions, Attempt)]
        assert outcomes == ["lost", None]
        steps = [(e.from_status, e.to_status) for e in _all(rows.sessions, JobEvent)]
        assert steps == [("queued", "running"), ("running", "queued"), ("queued", "running")]

    def test_a_claim_waits_for_the_back_off(self, rows: Rows) -> None:
        job = rows.job(not_before=datetime.now(UTC) + timedelta(hours=1))

        assert _try_claim(rows, job) is None

    def test_a_job_whose_attempts_are_used_up_is_not_claimed(self, rows: Rows) -> None:
        job = rows.job(max_attempts=1)
        _claim(rows, job, lease=OVER)

        assert _try_claim(rows, job) is None

    def test_a_job_that_somebody_canceled_is_not_taken_over(self, rows: Rows) -> None:
        job = rows.job()
        _claim(rows, job, lease=OVER)
        with unit_of_work(rows.sessions) as session:
            jobs.cancel(session, job, by="tester")

        assert _try_claim(rows, job) is None

    @pytest.mark.parametrize("status", [s for s in JobStatus if s is not JobStatus.QUEUED])
    def test_only_waiting_jobs_are_claimed(self, rows: Rows, status: JobStatus) -> None:
        assert _try_claim(rows, rows.job(status=status)) is None


class TestRenew:
    def test_a_renewal_says_what_is_lost_and_what_is_canceled(self, rows: Rows) -> None:
        kept, lost, canceled = (_claim(rows, job, lease=OVER) for job in rows.jobs(3))
        assert _try_claim(rows, lost.id) is not None
        with unit_of_work(rows.sessions) as session:
            jobs.cancel(session, canceled.id, by="tester")

        with unit_of_work(rows.sessions) as session:
            renewal = jobs.renew(session, [kept, lost, canceled], LEASE)

        assert renewal.lost == {lost.id}
        assert renewal.cancel == {canceled.id}
        assert _try_claim(rows, kept.id) is None


class TestSucceed:
    def test_results_artifacts_and_history_come_with_the_status(self, rows: Rows) -> None:
        job = rows.job()
        _succeed(rows, _claim(rows, job))

        row = _row(rows.sessions, job)
        assert (row.status, row.report, row.owner) == (JobStatus.SUCCEEDED, {"seconds": 1.5}, None)
        assert row.finished_at is not None
        assert [r.value for r in _all(rows.sessions, Result)] == [1.25, 1.25]
        assert [a.size for a in _all(rows.sessions, Artifact)] == [5 * 2**32]
        assert [a.outcome for a in _all(rows.sessions, Attempt)] == ["succeeded"]
        with reading(rows.sessions) as session:
            record = session.scalars(select(AuditRecord)).one()
            assert record.event_id == "job.succeeded"
            assert record.detail["artifacts"] == {"lungs.dcm": "a" * 64}
            assert audit.verify(session).ok

    def test_a_rollback_leaves_nothing(self, rows: Rows) -> None:
        job = rows.job()
        lease = _claim(rows, job)

        with pytest.raises(ZeroDivisionError):
            self._record_and_stumble(rows, lease)

        assert _row(rows.sessions, job).status is JobStatus.RUNNING
        assert _all(rows.sessions, Result) == []
        assert _all(rows.sessions, Artifact) == []
        assert [e.to_status for e in _all(rows.sessions, JobEvent)] == ["running"]

    @staticmethod
    def _record_and_stumble(rows: Rows, lease: Lease) -> None:
        results, artifacts = [_result(rows, 0)], [_artifact("a")]
        with unit_of_work(rows.sessions) as session:
            jobs.succeed(session, lease, results=results, artifacts=artifacts, report={})
            _ = 1 / 0

    def test_a_zombie_cannot_commit_after_somebody_took_over(self, rows: Rows) -> None:
        job = rows.job()
        zombie = _claim(rows, job, lease=OVER)
        heir = _try_claim(rows, job)
        assert heir is not None

        with pytest.raises(Fenced):
            _succeed(rows, zombie)
        _succeed(rows, heir, results=1)
        with pytest.raises(Fenced):
            _succeed(rows, zombie)

        assert len(_all(rows.sessions, Result)) == 1

    def test_a_worker_that_took_over_from_itself_is_fenced_by_its_older_token(
        self, rows: Rows
    ) -> None:
        job = rows.job()
        older = _claim(rows, job, lease=OVER)
        newer = _claim(rows, job)
        assert older.owner == newer.owner

        with pytest.raises(Fenced):
            _succeed(rows, older)
        _succeed(rows, newer)

    def test_a_zombie_cannot_commit_after_its_job_was_taken_back(self, rows: Rows) -> None:
        zombie = _claim(rows, rows.job(), lease=OVER)
        with unit_of_work(rows.sessions) as session:
            assert jobs.expire(session, lane="shared") == 1

        with pytest.raises(Fenced):
            _succeed(rows, zombie)

    def test_a_lease_that_ran_out_untaken_may_still_commit(self, rows: Rows) -> None:
        job = rows.job()
        _succeed(rows, _claim(rows, job, lease=OVER))

        assert _row(rows.sessions, job).status is JobStatus.SUCCEEDED

    def test_nothing_is_recorded_twice(self, rows: Rows) -> None:
        lease = _claim(rows, rows.job())
        _succeed(rows, lease)

        with pytest.raises(Fenced):
            _succeed(rows, lease)

        assert len(_all(rows.sessions, Result)) == 2


class TestOtherEndings:
    def test_a_rejection_is_final_and_says_why(self, rows: Rows) -> None:
        job = rows.job()
        lease = _claim(rows, job)
        with unit_of_work(rows.sessions) as session:
            jobs.reject(session, lease, reason="series.missing_slice", detail="One is missing.")

        row = _row(rows.sessions, job)
        assert (row.status, row.reason) == (JobStatus.REJECTED, "series.missing_slice")
        assert _try_claim(rows, job) is None

    def test_a_failure_is_tried_again_until_the_attempts_are_used_up(self, rows: Rows) -> None:
        job = rows.job(max_attempts=2)
        outcomes = []
        for _ in range(2):
            lease = _claim(rows, job)
            with unit_of_work(rows.sessions) as session:
                outcomes.append(
                    jobs.fail(session, lease, reason="run.error", detail="x", retry=True)
                )
            _backdate(rows, job, not_before=None)

        assert outcomes == [JobStatus.QUEUED, JobStatus.FAILED]
        assert [a.outcome for a in _all(rows.sessions, Attempt)] == ["retried", "failed"]

    def test_a_failed_attempt_backs_off(self, rows: Rows) -> None:
        job = rows.job()
        lease = _claim(rows, job)
        with unit_of_work(rows.sessions) as session:
            jobs.fail(session, lease, reason="run.error", detail="x", retry=True)

        row = _row(rows.sessions, job)
        assert row.not_before is not None
        assert row.published_at is None
        assert _try_claim(rows, job) is None

    def test_a_failure_without_retry_is_final(self, rows: Rows) -> None:
        lease = _claim(rows, rows.job())
        with unit_of_work(rows.sessions) as session:
            assert (
                jobs.fail(session, lease, reason="run.deadline", detail="x", retry=False)
                is JobStatus.FAILED
            )

    def test_a_released_job_has_its_attempt_back(self, rows: Rows) -> None:
        job = rows.job(max_attempts=1)
        lease = _claim(rows, job)
        with unit_of_work(rows.sessions) as session:
            jobs.release(session, lease)

        again = _claim(rows, job)
        assert (again.attempt, again.token) == (1, 2)


class TestCancel:
    def test_a_waiting_job_is_canceled_at_once(self, rows: Rows) -> None:
        job = rows.job()
        with unit_of_work(rows.sessions) as session:
            assert jobs.cancel(session, job, by="tester") is JobStatus.CANCELED
        assert _try_claim(rows, job) is None

    def test_a_running_job_is_asked_to_stop(self, rows: Rows) -> None:
        job = rows.job()
        lease = _claim(rows, job)
        with unit_of_work(rows.sessions) as session:
            assert jobs.cancel(session, job, by="tester") is JobStatus.RUNNING
        with unit_of_work(rows.sessions) as session:
            jobs.finish_canceled(session, lease)

        assert _row(rows.sessions, job).status is JobStatus.CANCELED

    def test_a_failure_after_the_request_cancels(self, rows: Rows) -> None:
        lease = _claim(rows, rows.job())
        with unit_of_work(rows.sessions) as session:
            jobs.cancel(session, lease.id, by="tester")
        with unit_of_work(rows.sessions) as session:
            after = jobs.fail(session, lease, reason="run.error", detail="x", retry=True)
        assert after is JobStatus.CANCELED

    def test_an_ended_job_stays_as_it_is(self, rows: Rows) -> None:
        lease = _claim(rows, rows.job())
        _succeed(rows, lease)
        with unit_of_work(rows.sessions) as session:
            assert jobs.cancel(session, lease.id, by="tester") is JobStatus.SUCCEEDED

    def test_an_unknown_job_is_said_to_be_unknown(self, rows: Rows) -> None:
        with pytest.raises(NoSuchRecord), unit_of_work(rows.sessions) as session:
            jobs.cancel(session, uuid.uuid4(), by="tester")


class TestRetry:
    def test_a_failed_job_may_be_tried_again_with_all_its_attempts(self, rows: Rows) -> None:
        job = rows.job(status=JobStatus.FAILED, attempt=3, reason="run.error")
        with unit_of_work(rows.sessions) as session:
            jobs.retry(session, job, by="tester")

        lease = _claim(rows, job)
        assert lease.attempt == 1
        assert _row(rows.sessions, job).reason is None

    @pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.SUCCEEDED])
    def test_what_has_not_ended_badly_is_not_tried_again(
        self, rows: Rows, status: JobStatus
    ) -> None:
        job = rows.job(status=status)
        with pytest.raises(IllegalTransition), unit_of_work(rows.sessions) as session:
            jobs.retry(session, job, by="tester")
        assert _row(rows.sessions, job).status is status


class TestExpire:
    def test_a_lost_job_waits_again(self, rows: Rows) -> None:
        job = rows.job()
        _claim(rows, job, lease=OVER)
        with unit_of_work(rows.sessions) as session:
            assert jobs.expire(session, lane="shared") == 1
            assert jobs.expire(session, lane="shared") == 0

        row = _row(rows.sessions, job)
        assert (row.status, row.reason) == (JobStatus.QUEUED, "run.worker_lost")
        assert row.not_before is not None
        assert [a.outcome for a in _all(rows.sessions, Attempt)] == ["lost"]

    def test_a_job_that_was_lost_too_often_failed(self, rows: Rows) -> None:
        job = rows.job(max_attempts=1)
        _claim(rows, job, lease=OVER)
        with unit_of_work(rows.sessions) as session:
            jobs.expire(session, lane="shared")

        row = _row(rows.sessions, job)
        assert (row.status, row.reason) == (JobStatus.FAILED, "run.worker_lost")

    def test_a_lost_job_that_was_to_be_canceled_is_canceled(self, rows: Rows) -> None:
        job = rows.job()
        _claim(rows, job, lease=OVER)
        with unit_of_work(rows.sessions) as session:
            jobs.cancel(session, job, by="tester")
            jobs.expire(session, lane="shared")
        assert _row(rows.sessions, job).status is JobStatus.CANCELED

    def test_held_jobs_and_other_lanes_are_left_alone(self, rows: Rows) -> None:
        _claim(rows, rows.job())
        _claim(rows, rows.job(lane="other"), lease=OVER)
        with unit_of_work(rows.sessions) as session:
            assert jobs.expire(session, lane="shared") == 0
