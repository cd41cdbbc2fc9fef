"""What becomes of a rerun at the desk, on SQLite and PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from records import batches, models, recalls, reruns
from records.base import BatchStatus, JobStatus
from records.database import reading, unit_of_work
from records.leases import Lease
from records.models import NewModelVersion
from records.reruns import Rerun
from records.tables import Batch, File, Job, JobModel, Study
from tests.worker.conftest import Planned
from worker import rerunning
from worker.services import Services
from worker.tasks import desk

MODEL = "threshold-lung"


def active(here: Services) -> str:
    with reading(here.sessions) as session:
        row = models.active(session, MODEL)
        assert row is not None
        return row.version


def rerun(here: Services, jobs: Sequence[uuid.UUID]) -> uuid.UUID:
    """Recall what these jobs succeeded with, let another version stand in, ask for a rerun."""
    recalled = active(here)
    with unit_of_work(here.sessions) as session:
        session.execute(update(Job).where(Job.id.in_(jobs)).values(status=JobStatus.SUCCEEDED))
        new = NewModelVersion(
            name=MODEL,
            version="99",
            digest="9" * 64,
            kind="segmentation",
            path="bundles/9",
            bundle_metadata={},
        )
        models.register(session, new, by="test")
        recalls.recall(session, MODEL, recalled, by="test", why="wrong labels")
        models.promote(session, MODEL, "99", by="test", why="instead", override=True)
    with unit_of_work(here.sessions) as session:
        (batch_id,) = reruns.rerun(session, MODEL, recalled, by="test", lane=here.settings.lane)
    return batch_id


def state_of(here: Services, batch_id: uuid.UUID) -> tuple[BatchStatus, bool, str | None]:
    with reading(here.sessions) as session:
        row = session.get_one(Batch, batch_id)
        return row.status, row.planned_at is not None, row.reason


def uids(here: Services, batch_id: uuid.UUID) -> set[str]:
    with reading(here.sessions) as session:
        query = select(Study.study_instance_uid).where(Study.batch_id == batch_id)
        return set(session.scalars(query))


def paths(here: Services, batch_id: uuid.UUID) -> set[str]:
    """The files of a batch that belong to a series."""
    with reading(here.sessions) as session:
        query = select(File.path).where(File.batch_id == batch_id, File.series_id.is_not(None))
        return set(session.scalars(query))


def test_a_rerun_has_the_studies_of_before_and_the_versions_of_now(
    here: Services, planned: Planned
) -> None:
    batch_id = rerun(here, planned.jobs)
    desk.carry_scan(batch_id, here)
    assert state_of(here, batch_id) == (BatchStatus.RUNNING, True, None)
    assert uids(here, batch_id) == uids(here, planned.batch)
    assert paths(here, batch_id) == paths(here, planned.batch)
    with reading(here.sessions) as session:
        now = models.get(session, MODEL, "99").id
        query = select(JobModel.model_version_id).join(Job).where(Job.batch_id == batch_id)
        assert session.scalars(query).all() == [now, now]


def test_a_rerun_has_no_other_study_of_the_source(here: Services, planned: Planned) -> None:
    batch_id = rerun(here, planned.jobs[:1])
    desk.carry_scan(batch_id, here)
    assert state_of(here, batch_id) == (BatchStatus.RUNNING, True, None)
    with reading(here.sessions) as session:
        query = select(Study.study_instance_uid).join(Job).where(Job.id == planned.jobs[0])
        assert uids(here, batch_id) == {session.scalar(query)}


def test_a_rerun_that_is_cut_off_is_neither_closed_nor_whole_until_it_goes_on(
    here: Services, planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rerunning, "CHUNK", 1)
    batch_id = rerun(here, planned.jobs)
    whole, chunks = reruns.record_studies, list[int]()

    def broken(session: Session, lease: Lease, again: Rerun, ids: Sequence[uuid.UUID]) -> int:
        if chunks:
            raise RuntimeError("a fault behind the first study")
        chunks.append(len(ids))
        return whole(session, lease, again, ids)

    with monkeypatch.context() as patched:
        patched.setattr(reruns, "record_studies", broken)
        desk.carry_scan(batch_id, here)
    assert chunks == [1]
    assert len(uids(here, batch_id)) == 1  # what was written is kept: it had its own transaction
    with unit_of_work(here.sessions) as session:
        session.execute(
            update(Job).where(Job.batch_id == batch_id).values(status=JobStatus.SUCCEEDED)
        )
        assert batch_id not in batches.close_finished(session, lane=here.settings.lane)
        session.get_one(Batch, batch_id).not_before = None
    assert state_of(here, batch_id) == (BatchStatus.SCANNING, False, None)
    desk.carry_scan(batch_id, here)
    assert state_of(here, batch_id) == (BatchStatus.RUNNING, True, None)
    assert uids(here, batch_id) == uids(here, planned.batch)


def test_studies_of_many_files_are_written_one_at_a_time(
    here: Services, planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rerunning, "FILES_CHUNK", 16)  # a study has as many
    batch_id = rerun(here, planned.jobs)
    whole, chunks = reruns.record_studies, list[int]()

    def counted(session: Session, lease: Lease, again: Rerun, ids: Sequence[uuid.UUID]) -> int:
        chunks.append(len(ids))
        return whole(session, lease, again, ids)

    monkeypatch.setattr(reruns, "record_studies", counted)
    desk.carry_scan(batch_id, here)
    assert chunks == [1, 1]


def test_a_rerun_fails_where_no_version_is_active_any_more(
    here: Services, planned: Planned
) -> None:
    batch_id = rerun(here, planned.jobs)
    with unit_of_work(here.sessions) as session:
        models.retire(session, MODEL, "99", by="test", why="gone too")
    desk.carry_scan(batch_id, here)
    assert state_of(here, batch_id) == (BatchStatus.FAILED, False, "model.unavailable")
    assert uids(here, batch_id) == set()
