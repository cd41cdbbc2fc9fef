"""A batch is made once, scanned by one worker at a time, closed when its last job ended."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from records import audit, batches, jobs
from records.base import BatchStatus, JobStatus
from records.batches import (
    NewBatch,
    PlannedJob,
    PlannedSeries,
    PlannedStudy,
    Retried,
    ScannedFile,
)
from records.database import reading, unit_of_work
from records.leases import SCAN_ATTEMPTS, Fenced, Lease
from records.tables import Batch, File, Job, JobEvent, JobModel, Series, Study
from records.transitions import NoSuchRecord
from tests.records.conftest import Rows

LEASE = timedelta(seconds=30)
OVER = timedelta(seconds=-1)


def _create(rows: Rows, **asked: Any) -> uuid.UUID:
    new = NewBatch(**{"source": "in", "analyses": ["ct"], **asked})
    with unit_of_work(rows.sessions) as session:
        return batches.create(session, new, by="tester").id


def _claim(rows: Rows, batch: uuid.UUID, lease: timedelta = LEASE) -> Lease:
    with unit_of_work(rows.sessions) as session:
        taken = batches.claim_scan(session, batch, owner="desk", lease=lease)
    assert taken is not None
    return taken


def _study(
    rows: Rows, uid: str, *, files: int = 2, rejected: tuple[str, str] | None = None
) -> PlannedStudy:
    instances = [
        ScannedFile(path=f"{uid}/{i}.dcm", size=10, verdict="ok", sop_instance_uid=f"{uid}.{i}")
        for i in range(files)
    ]
    series = PlannedSeries(
        series_instance_uid=f"{uid}.1",
        modality="CT",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        verdict="ok",
        attributes={"slices": files},
        files=instances,
    )
    job = PlannedJob(
        analysis_id=rows.analysis_id, plan={}, models={"lungs": rows.model_id}, rejected=rejected
    )
    return PlannedStudy(study_instance_uid=uid, series=[series], jobs=[job])


def _record(
    rows: Rows, lease: Lease, chunk: Sequence[PlannedStudy], files: Sequence[ScannedFile] = ()
) -> int:
    with unit_of_work(rows.sessions) as session:
        return batches.record_studies(session, lease, chunk, files)


def _planned(rows: Rows, *uids: str, **asked: Any) -> uuid.UUID:
    batch = _create(rows, **asked)
    lease = _claim(rows, batch)
    _record(rows, lease, [_study(rows, uid) for uid in uids])
    with unit_of_work(rows.sessions) as session:
        batches.finish_plan(session, lease)
    return batch


def _batch(rows: Rows, batch: uuid.UUID) -> Batch:
    with reading(rows.sessions) as session:
        return session.get_one(Batch, batch)


def _all(sessions: sessionmaker[Session], table: type[Any]) -> list[Any]:
    with reading(sessions) as session:
        return list(session.scalars(select(table)))


def _jobs(rows: Rows, batch: uuid.UUID) -> list[Job]:
    with reading(rows.sessions) as session:
        return list(session.scalars(select(Job).where(Job.batch_id == batch)))


def _close(rows: Rows, lane: str = "shared") -> list[uuid.UUID]:
    with unit_of_work(rows.sessions) as session:
        return batches.close_finished(session, lane=lane)


class TestCreate:
    def test_a_batch_waits_to_be_scanned(self, rows: Rows) -> None:
        batch = _create(rows, out="out", options={"deep": 1})

        row = _batch(rows, batch)
        assert (row.status, row.source, row.created_by) == (BatchStatus.SCANNING, "in", "tester")

    def test_the_same_key_and_request_give_the_same_batch(self, rows: Rows) -> None:
        assert _create(rows, idempotency_key="k") == _create(rows, idempotency_key="k")

    def test_the_same_key_for_another_request_is_refused(self, rows: Rows) -> None:
        _create(rows, idempotency_key="k")
        with pytest.raises(batches.IdempotencyConflict):
            _create(rows, idempotency_key="k", source="elsewhere")

    def test_without_a_key_two_requests_are_two_batches(self, rows: Rows) -> None:
        assert _create(rows) != _create(rows)


class TestScan:
    def test_one_worker_at_a_time_scans(self, rows: Rows) -> None:
        batch = _create(rows)
        _claim(rows, batch)
        with unit_of_work(rows.sessions) as session:
            assert batches.claim_scan(session, batch, owner="other", lease=LEASE) is None

    def test_studies_come_with_series_files_jobs_and_models(self, rows: Rows) -> None:
        batch = _create(rows, lane="mine", queue="infer.urgent")
        bad = ScannedFile(path="x.txt", size=1, verdict="file.not_dicom", detail="No.")

        assert (
            _record(rows, _claim(rows, batch), [_study(rows, "1.2"), _study(rows, "1.3")], [bad])
            == 2
        )

        assert len(_all(rows.sessions, Study)) == 2
        assert [s.instance_count for s in _all(rows.sessions, Series)] == [2, 2]
        files = _all(rows.sessions, File)
        assert len(files) == 5
        assert [f.path for f in files if f.series_id is None] == ["x.txt"]
        assert {(j.lane, j.queue, j.status) for j in _jobs(rows, batch)} == {
            ("mine", "infer.urgent", JobStatus.QUEUED)
        }
        assert len(_all(rows.sessions, JobModel)) == 2
        assert [e.to_status for e in _all(rows.sessions, JobEvent)] == ["queued", "queued"]

    def test_a_second_scan_writes_only_what_is_not_there(self, rows: Rows) -> None:
        batch = _create(rows)
        first = _claim(rows, batch, OVER)
        bad = ScannedFile(path="x.txt", size=1, verdict="file.not_dicom")
        _record(rows, first, [_study(rows, "1.2")], [bad])
        second = _claim(rows, batch)

        chunk = [_study(rows, "1.2"), _study(rows, "1.3")]
        assert _record(rows, second, chunk, [bad]) == 1

        assert len(_jobs(rows, batch)) == 2
        assert len(_all(rows.sessions, File)) == 5
        with pytest.raises(Fenced):
            _record(rows, first, [_study(rows, "1.4")])

    def test_a_file_met_alone_is_given_to_its_series_later(self, rows: Rows) -> None:
        lease = _claim(rows, _create(rows))
        alone = ScannedFile(path="1.2/0.dcm", size=10, verdict="file.unreadable")
        _record(rows, lease, [], [alone])
        _record(rows, lease, [_study(rows, "1.2", files=1)])

        (file,) = _all(rows.sessions, File)
        assert file.verdict == "ok"
        assert file.series_id is not None

    def test_a_study_refused_at_planning_is_rejected_and_audited(self, rows: Rows) -> None:
        batch = _create(rows)
        refused = _study(rows, "1.2", rejected=("selection.no_series", "No series fits."))
        _record(rows, _claim(rows, batch), [refused])

        (job,) = _jobs(rows, batch)
        assert (job.status, job.reason) == (JobStatus.REJECTED, "selection.no_series")
        assert job.finished_at is not None
        with reading(rows.sessions) as session:
            assert audit.verify(session).count == 2  # batch.created, job.rejected

    def test_a_failed_scan_cancels_what_it_had_planned(self, rows: Rows) -> None:
        batch = _create(rows)
        lease = _claim(rows, batch)
        _record(rows, lease, [_study(rows, "1.2")])
        with unit_of_work(rows.sessions) as session:
            batches.fail_scan(session, lease, reason="source.unreadable", detail="Gone.")

        assert _batch(rows, batch).status is BatchStatus.FAILED
        assert [j.status for j in _jobs(rows, batch)] == [JobStatus.CANCELED]

    def test_a_scan_may_be_tried_again(self, rows: Rows) -> None:
        lease = _claim(rows, _create(rows))
        with unit_of_work(rows.sessions) as session:
            after = batches.fail_scan(
                session, lease, reason="source.unreadable", detail="x", retry=True
            )
        assert after is BatchStatus.SCANNING

    def test_a_lost_scan_waits_again_and_fails_in_the_end(self, rows: Rows) -> None:
        batch = _create(rows)
        for _ in range(SCAN_ATTEMPTS):
            _claim(rows, batch, OVER)
        with unit_of_work(rows.sessions) as session:
            assert batches.expire_scans(session, lane="shared") == 1

        row = _batch(rows, batch)
        assert (row.status, row.reason) == (BatchStatus.FAILED, "run.worker_lost")

    def test_a_lost_scanner_cannot_write_once_its_scan_was_taken_back(self, rows: Rows) -> None:
        zombie = _claim(rows, _create(rows), OVER)
        with unit_of_work(rows.sessions) as session:
            assert batches.expire_scans(session, lane="shared") == 1

        with pytest.raises(Fenced):
            _record(rows, zombie, [_study(rows, "1.2")])

    def test_a_scan_is_announced_until_somebody_takes_it(self, rows: Rows) -> None:
        batch = _create(rows)
        with unit_of_work(rows.sessions) as session:
            first = batches.scans_to_publish(session, lane="shared", resend_after=LEASE)
            again = batches.scans_to_publish(session, lane="shared", resend_after=LEASE)
            late = batches.scans_to_publish(session, lane="shared", resend_after=-LEASE)
        _claim(rows, batch)
        with unit_of_work(rows.sessions) as session:
            taken = batches.scans_to_publish(session, lane="shared", resend_after=-LEASE)

        assert [wake.id for wake in first] == [batch]
        assert again == []
        assert [wake.id for wake in late] == [batch]
        assert taken == []

    def test_a_released_scan_has_its_attempt_back(self, rows: Rows) -> None:
        batch = _create(rows)
        with unit_of_work(rows.sessions) as session:
            first = batches.claim_scan(session, batch, owner="desk", lease=LEASE)
            assert first is not None
            batches.release_scan(session, first)
        assert _claim(rows, batch).attempt == 1


class TestClose:
    def test_a_batch_is_finished_when_its_last_job_ended(self, rows: Rows) -> None:
        batch = _planned(rows, "1.2", lane="mine")
        assert _close(rows, "mine") == []
        (job,) = _jobs(rows, batch)
        with unit_of_work(rows.sessions) as session:
            lease = jobs.claim(session, job.id, owner="w", lease=LEASE)
            assert lease is not None
            jobs.reject(session, lease, reason="pixels.undecodable", detail="x")

        assert _close(rows, "other") == []
        assert _close(rows, "mine") == [batch]
        assert _batch(rows, batch).status is BatchStatus.FINISHED
        assert _close(rows, "mine") == []

    def test_a_canceled_batch_whose_machine_died_is_closed_from_any_lane(self, rows: Rows) -> None:
        batch = _planned(rows, "1.2", lane="gone")
        with unit_of_work(rows.sessions) as session:
            jobs.claim(session, _jobs(rows, batch)[0].id, owner="w", lease=OVER)
        with unit_of_work(rows.sessions) as session:
            assert batches.cancel(session, batch, by="tester") is BatchStatus.RUNNING
        with unit_of_work(rows.sessions) as session:
            jobs.expire(session, lane="shared")

        assert batch in _close(rows, "shared")
        assert _batch(rows, batch).status is BatchStatus.CANCELED

    def test_a_batch_that_is_still_scanned_is_not_closed(self, rows: Rows) -> None:
        _create(rows, lane="mine")
        assert _close(rows, "mine") == []


class TestCancel:
    def test_a_scan_is_stopped_and_the_batch_closed(self, rows: Rows) -> None:
        batch = _create(rows)
        lease = _claim(rows, batch)
        _record(rows, lease, [_study(rows, "1.2")])
        with unit_of_work(rows.sessions) as session:
            assert batches.cancel(session, batch, by="tester") is BatchStatus.CANCELED

        with pytest.raises(Fenced):
            _record(rows, lease, [_study(rows, "1.3")])
        assert [j.status for j in _jobs(rows, batch)] == [JobStatus.CANCELED]

    def test_a_batch_with_running_jobs_ends_when_they_heard(self, rows: Rows) -> None:
        batch = _planned(rows, "1.2", "1.3", lane="mine")
        with unit_of_work(rows.sessions) as session:
            lease = jobs.claim(session, _jobs(rows, batch)[0].id, owner="w", lease=LEASE)
        assert lease is not None
        with unit_of_work(rows.sessions) as session:
            assert batches.cancel(session, batch, by="tester") is BatchStatus.RUNNING
        with unit_of_work(rows.sessions) as session:
            assert jobs.renew(session, [lease], LEASE).cancel == {lease.id}
            jobs.finish_canceled(session, lease)

        assert _close(rows, "mine") == [batch]
        assert _batch(rows, batch).status is BatchStatus.CANCELED
        assert {j.status for j in _jobs(rows, batch)} == {JobStatus.CANCELED}

    def test_an_ended_batch_stays_as_it_is(self, rows: Rows) -> None:
        batch = _planned(rows)
        _close(rows)
        with unit_of_work(rows.sessions) as session:
            assert batches.cancel(session, batch, by="tester") is BatchStatus.FINISHED

    def test_an_unknown_batch_is_said_to_be_unknown(self, rows: Rows) -> None:
        with pytest.raises(NoSuchRecord), unit_of_work(rows.sessions) as session:
            batches.cancel(session, uuid.uuid4(), by="tester")


class TestRetry:
    @pytest.fixture
    def ended(self, rows: Rows) -> uuid.UUID:
        rows.job(status=JobStatus.SUCCEEDED)
        rows.job(status=JobStatus.FAILED, reason="run.worker_lost")
        rows.job(status=JobStatus.REJECTED, reason="pixels.undecodable")
        rows.job(status=JobStatus.CANCELED, reason="run.canceled")
        assert rows.batch_id in _close(rows)
        return rows.batch_id

    @pytest.mark.parametrize(
        ("cause", "count"),
        [(None, 2), ("pixels.undecodable", 1), ("pixels", 1), ("run", 2), ("pix", 0)],
    )
    def test_the_cause_chooses(
        self, rows: Rows, ended: uuid.UUID, cause: str | None, count: int
    ) -> None:
        with unit_of_work(rows.sessions) as session:
            again = batches.retry(session, ended, by="tester", cause=cause)
        assert again == Retried(jobs=count, scan=False)

        expected = BatchStatus.RUNNING if count else BatchStatus.FINISHED
        assert _batch(rows, ended).status is expected

    def test_a_batch_canceled_before_it_was_planned_is_scanned_again(self, rows: Rows) -> None:
        batch = _create(rows)
        lease = _claim(rows, batch)
        _record(rows, lease, [_study(rows, "1.2")])
        with unit_of_work(rows.sessions) as session:
            batches.cancel(session, batch, by="tester")
        with unit_of_work(rows.sessions) as session:
            assert batches.retry(session, batch, by="tester") == Retried(jobs=1, scan=True)

        assert _batch(rows, batch).status is BatchStatus.SCANNING
        again = _claim(rows, batch)
        assert _record(rows, again, [_study(rows, "1.2"), _study(rows, "1.3")]) == 1


class TestAdopt:
    def test_a_batch_goes_on_in_another_lane(self, rows: Rows) -> None:
        batch = _planned(rows, "1.2", lane="old")
        with unit_of_work(rows.sessions) as session:
            jobs.to_publish(session, lane="old", window=8, resend_after=LEASE)
        with unit_of_work(rows.sessions) as session:
            batches.adopt(session, batch, lane="new", by="tester")
        with unit_of_work(rows.sessions) as session:
            wakes = jobs.to_publish(session, lane="new", window=8, resend_after=LEASE)

        assert [wake.id for wake in wakes] == [job.id for job in _jobs(rows, batch)]
        assert _batch(rows, batch).lane == "new"
