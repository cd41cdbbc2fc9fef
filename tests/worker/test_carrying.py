"""One job, from claim to record or to any other end, on SQLite and PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select, update

from pipeline.dicom import file_index
from pipeline.dicom.headers.kept import KeptHeaders, keep
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.sources.folder import RegularFile
from pipeline.errors import Interrupted
from records import batches, database, orders, requests
from records.base import BatchStatus, JobStatus
from records.tables import Artifact, Attempt, Batch, File, Job, Result, Series
from tests.worker.conftest import Planned
from worker import analysis, outcomes
from worker.flights import Flight, Stop
from worker.heartbeat import Heartbeat
from worker.services import Services
from worker.store import Store
from worker.tasks import desk, inference


def row(here: Services, job_id: UUID) -> Job:
    with database.reading(here.sessions) as session:
        return session.get_one(Job, job_id)


def beat(here: Services) -> None:
    """Beat once."""
    Heartbeat(here.flights, here.sessions, stop_grace=timedelta(seconds=1)).renew_all()


def taken(here: Services, job_id: UUID) -> Flight:
    flight = analysis.claim(job_id, here)
    assert flight is not None
    return flight


def test_a_scan_plans_a_job_for_every_study_and_a_verdict_for_every_file(
    here: Services, planned: Planned
) -> None:
    with database.reading(here.sessions) as session:
        batch = session.get_one(Batch, planned.batch)
        verdicts = dict(iter(session.execute(select(File.path, File.verdict))))
    assert batch.status is BatchStatus.RUNNING
    assert batch.progress == {"files_seen": 33, "files_total": 33, "studies": 2}
    assert verdicts.pop("note.txt") == "file.not_dicom"
    assert set(verdicts.values()) == {"ok"}
    assert len(planned.jobs) == 2


def test_a_job_is_recorded_with_results_artifacts_and_report(
    here: Services, planned: Planned
) -> None:
    inference.carry_job(planned.jobs[0], here)
    job = row(here, planned.jobs[0])
    assert job.status is JobStatus.SUCCEEDED
    with database.reading(here.sessions) as session:
        results = session.scalars(select(Result).where(Result.job_id == job.id)).all()
        artifacts = session.scalars(select(Artifact).where(Artifact.job_id == job.id)).all()
    assert [(result.step, result.ordinal, result.unit) for result in results] == [
        ("lungs", 0, "mL")
    ]
    assert [artifact.name for artifact in artifacts] == ["lungs.dcm"]
    assert here.store.path(artifacts[0].sha256).stat().st_size == artifacts[0].size
    assert job.report is not None
    assert job.report["models"]["lungs"]["name"] == "threshold-lung"
    assert job.report["device"] == "cpu"


def test_a_job_reads_by_the_headers_that_its_scan_kept(
    here: Services, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_index, "LONGEST_TICK", 0)
    with database.unit_of_work(here.sessions) as session:
        new = batches.NewBatch(source=str(studies), analyses=["test-lungs"])
        batch = batches.create(session, new, by="test").id
    desk.carry_scan(batch, here)
    with database.unit_of_work(here.sessions) as session:
        jobs = session.scalars(select(Job.id).where(Job.batch_id == batch)).all()
        (one,) = orders.read(session, jobs[0]).inputs["ct"]
        assert one.headers is not None
        # twice as long and wide and high as the files say
        forged = _stretched(one.headers, studies, one.paths)
        session.execute(
            update(Series)
            .where(Series.series_instance_uid == one.series_instance_uid)
            .values(headers=forged)
        )
    for job in jobs:
        inference.carry_job(job, here)
    with database.reading(here.sessions) as session:
        found = dict(iter(session.execute(select(Result.job_id, Result.value))))
    assert found[jobs[0]] == pytest.approx(8 * (found[jobs[1]] or 0), rel=0.2)


def _stretched(headers: bytes, source: Path, paths: Sequence[str]) -> bytes:
    """Kept headers that state twice the distances of their files."""
    kept, found, stamps = KeptHeaders.unpack(headers), [], {}
    for path in paths:
        with RegularFile(source / path) as file:
            header = kept.of(file, path, HeaderLimits())
            assert header is not None
            assert header.position is not None
            assert header.pixel_spacing is not None
            stamps[path] = file.stamp
        position = tuple(2 * number for number in header.position)
        spacing = tuple(2 * number for number in header.pixel_spacing)
        found.append(replace(header, position=position, pixel_spacing=spacing))
    return keep(found, stamps)


def test_a_second_delivery_finds_nothing_to_do(here: Services, planned: Planned) -> None:
    inference.carry_job(planned.jobs[0], here)
    inference.carry_job(planned.jobs[0], here)
    with database.reading(here.sessions) as session:
        attempts = session.scalars(select(Attempt).where(Attempt.job_id == planned.jobs[0])).all()
    assert len(attempts) == 1


def test_a_rerun_writes_the_same_bytes(here: Services, planned: Planned) -> None:
    def carried() -> tuple[str, float | None]:
        inference.carry_job(planned.jobs[0], here)
        with database.reading(here.sessions) as session:
            sha256 = session.scalars(select(Artifact.sha256)).one()
            return sha256, session.scalars(select(Result.value)).one()

    first = carried()
    with database.unit_of_work(here.sessions) as session:
        session.execute(Result.__table__.delete())
        session.execute(Artifact.__table__.delete())
        session.execute(
            update(Job).where(Job.id == planned.jobs[0]).values(status=JobStatus.QUEUED, owner=None)
        )
    assert carried() == first


def test_a_canceled_job_stops_at_its_next_checkpoint(here: Services, planned: Planned) -> None:
    flight = taken(here, planned.jobs[0])
    with here.flights.hold(flight):
        with database.unit_of_work(here.sessions) as session:
            requests.cancel(session, planned.jobs[0], by="test")
        beat(here)
        with pytest.raises(Interrupted) as stopped:
            analysis.carry(flight, here)
        outcomes.settle(stopped.value, flight, here)
    assert row(here, planned.jobs[0]).status is JobStatus.CANCELED


def test_a_holder_whose_job_was_taken_over_records_nothing(
    here: Services, planned: Planned
) -> None:
    flight = taken(here, planned.jobs[0])
    with database.unit_of_work(here.sessions) as session:
        session.execute(
            update(Job)
            .where(Job.id == planned.jobs[0])
            .values(lease_until=database.now(session) - timedelta(seconds=1))
        )
    other = taken(replace(here, owner="other:1:b"), planned.jobs[0])
    with here.flights.hold(flight):
        beat(here)
    assert flight.stop is Stop.LOST
    outcomes.settle(Interrupted("lost"), flight, here)
    job = row(here, planned.jobs[0])
    assert (job.status, job.owner) == (JobStatus.RUNNING, "other:1:b")
    assert job.token == other.lease.token


def test_a_process_that_closes_takes_nothing_new(here: Services, planned: Planned) -> None:
    here.flights.close()
    assert analysis.claim(planned.jobs[0], here) is None
    assert row(here, planned.jobs[0]).status is JobStatus.QUEUED


def test_a_shutdown_gives_a_running_job_back_uncounted(here: Services, planned: Planned) -> None:
    flight = taken(here, planned.jobs[0])
    flight.ask_to_stop(Stop.SHUTDOWN)
    outcomes.settle(Interrupted("stop"), flight, here)
    job = row(here, planned.jobs[0])
    assert (job.status, job.attempt) == (JobStatus.QUEUED, 0)


def test_no_job_is_claimed_where_results_would_find_no_room(
    here: Services, planned: Planned
) -> None:
    full = replace(here, store=Store(here.settings.store_path, reserve_bytes=2**60))
    assert analysis.claim(planned.jobs[0], full) is None
    assert row(here, planned.jobs[0]).attempt == 0


def test_a_file_that_vanished_after_the_scan_is_tried_again_later(
    here: Services, studies: Path, tmp_path: Path, planned: Planned
) -> None:
    with database.unit_of_work(here.sessions) as session:
        session.execute(update(Batch).values(source=str(tmp_path / "gone")))
    inference.carry_job(planned.jobs[0], here)
    job = row(here, planned.jobs[0])
    assert (job.status, job.reason) == (JobStatus.QUEUED, "file.unreadable")
    assert job.not_before is not None


def test_a_bundle_that_was_changed_in_the_store_is_not_run(
    here: Services, planned: Planned
) -> None:
    for card in (here.store.root / "bundles").glob("*/docs/README.md"):
        card.write_text("other bytes")
    inference.carry_job(planned.jobs[0], here)
    job = row(here, planned.jobs[0])
    assert (job.status, job.reason) == (JobStatus.QUEUED, "model.unavailable")
    shutil.rmtree(here.store.root / "bundles")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError("DOE^JANE"), "run.out_of_memory"),
        (OSError(28, "No space left", "/in/DOE^JANE"), "run.disk_full"),
        (ValueError("DOE^JANE"), "run.error"),
        (OSError(5, "Input/output error", "/in/DOE^JANE"), "run.error"),
    ],
)
def test_the_message_of_a_library_reaches_no_row(error: Exception, reason: str) -> None:
    outcome = outcomes.outcome_of(error)
    assert (outcome.status, outcome.reason.value) == (JobStatus.FAILED, reason)
    assert outcome.retry
    assert "DOE" not in outcome.detail


def test_an_attempt_that_failed_is_kept(here: Services, planned: Planned) -> None:
    flight = taken(here, planned.jobs[0])
    outcomes.settle(ValueError("secret"), flight, here)
    with database.reading(here.sessions) as session:
        attempt = session.scalars(select(Attempt)).one()
    assert (attempt.outcome, attempt.reason) == ("retried", "run.error")
