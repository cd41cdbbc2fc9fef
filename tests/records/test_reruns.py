"""The studies of a recalled version are run again, by the version that is active now."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from sqlalchemy import select

from records import batches, models, orders, reruns
from records.base import BatchStatus, JobStatus
from records.database import reading, unit_of_work
from records.leases import Fenced, Lease
from records.models import ModelVersionMissing
from records.standing import Standing
from records.tables import Batch, Job, Study
from tests.records.nights import STUDY, Nights


def rerun(nights: Nights, version: str = "1.1") -> uuid.UUID:
    """Ask for the studies of a version that one batch used; returns the new batch."""
    with unit_of_work(nights.sessions) as session:
        (batch_id,) = reruns.rerun(session, "lung", version, by="grace")
    return batch_id


def take(nights: Nights, batch_id: uuid.UUID) -> Lease:
    with unit_of_work(nights.sessions) as session:
        lease = batches.claim_scan(session, batch_id, owner="desk", lease=timedelta(minutes=1))
    assert lease is not None
    return lease


def plan(nights: Nights, lease: Lease) -> int:
    """Write the studies of the batch, as a desk does; returns how many were new."""
    with unit_of_work(nights.sessions) as session:
        again = reruns.asked(session.get_one(Batch, lease.id))
        assert again is not None
        ids = [study.id for study in reruns.studies(session, again)]
        return reruns.record_studies(session, lease, again, ids)


def finish(nights: Nights, lease: Lease) -> None:
    with unit_of_work(nights.sessions) as session:
        batches.finish_plan(session, lease)


def close(nights: Nights) -> list[uuid.UUID]:
    with unit_of_work(nights.sessions) as session:
        return batches.close_finished(session, lane="shared")


def test_just_the_studies_of_a_recalled_version_are_run_again(nights: Nights) -> None:
    nights.analyse(study="1.2.840.9")
    nights.promote("1.1")
    recalled = nights.analyse()
    nights.analyse(study="1.2.840.3", status=JobStatus.REJECTED)
    nights.recall("1.1")
    lease = take(nights, rerun(nights))
    assert plan(nights, lease) == 1
    finish(nights, lease)
    with reading(nights.sessions) as session:
        batch = session.get_one(Batch, lease.id)
        assert (batch.status, batch.source) == (BatchStatus.RUNNING, "export")
        (job,) = session.scalars(select(Job).where(Job.batch_id == lease.id))
        assert job.status is JobStatus.QUEUED
        order = orders.read(session, job.id)
    assert order.study_instance_uid == STUDY
    assert order.models["lungs"].version == "1.0"
    (ref,) = order.inputs["ct"]
    assert (ref.paths, ref.headers) == (("a.dcm",), b"facts")
    assert nights.standing(recalled) == [Standing.RECALLED]
    (said,) = nights.events("model.rerun")
    assert said.detail == {"jobs": 1, "batches": [str(lease.id)]}
    assert nights.claim(job.id) is not None  # it can be claimed like any other


def test_what_asks_for_a_rerun_writes_no_study_and_the_batch_cannot_close(nights: Nights) -> None:
    nights.promote("1.1")
    nights.analyse()
    nights.recall("1.1")
    batch_id = rerun(nights)
    with reading(nights.sessions) as session:
        batch = session.get_one(Batch, batch_id)
        assert (batch.status, batch.planned_at) == (BatchStatus.SCANNING, None)
        assert session.scalars(select(Study).where(Study.batch_id == batch_id)).all() == []
    assert batch_id not in close(nights)


def test_there_is_a_batch_for_each_batch_the_version_was_used_in(nights: Nights) -> None:
    nights.promote("1.1")
    used = [nights.analyse(study=f"1.2.840.{number}") for number in range(3)]
    nights.recall("1.1")
    with unit_of_work(nights.sessions) as session:
        made = reruns.rerun(session, "lung", "1.1", by="grace")
    for batch_id in made:
        assert plan(nights, take(nights, batch_id)) == 1
    with reading(nights.sessions) as session:
        of = {session.get_one(Batch, one).options["rerun_of"] for one in made}
        assert of == {str(session.get_one(Job, one).batch_id) for one in used}
        uids = session.scalars(
            select(Study.study_instance_uid).where(Study.batch_id.in_(made)).distinct()
        )
        assert len(uids.all()) == 3


def test_a_rerun_that_is_cut_off_goes_on_behind_what_was_written(nights: Nights) -> None:
    nights.promote("1.1")
    nights.analyse()
    nights.recall("1.1")
    first = take(nights, rerun(nights))
    assert plan(nights, first) == 1
    assert first.id not in close(nights)
    with unit_of_work(nights.sessions) as session:
        batches.renew(session, [first], timedelta(seconds=-1))
    second = take(nights, first.id)
    with pytest.raises(Fenced):
        plan(nights, first)
    assert plan(nights, second) == 0
    finish(nights, second)
    with reading(nights.sessions) as session:
        assert session.get_one(Batch, first.id).status is BatchStatus.RUNNING
        (job,) = session.scalars(select(Job).where(Job.batch_id == first.id))
        assert job.status is JobStatus.QUEUED


def test_a_batch_that_is_to_be_scanned_is_no_rerun(nights: Nights) -> None:
    with unit_of_work(nights.sessions) as session:
        new = batches.NewBatch(source="export", analyses=["ct"])
        assert reruns.asked(batches.create(session, new, by="ada")) is None


def test_without_an_active_version_nothing_is_run_again(nights: Nights) -> None:
    nights.analyse()
    nights.recall("1.0")
    with pytest.raises(ModelVersionMissing, match="no active version"):
        rerun(nights, "1.0")
    with reading(nights.sessions) as session:
        assert models.active(session, "lung") is None
        assert len(session.scalars(select(Batch)).all()) == 1
