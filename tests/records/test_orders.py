"""What the holder of a job is told, as it was planned."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from sqlalchemy import inspect, select

from records import batches, orders
from records.batches import NewBatch, PlannedJob, PlannedSeries, PlannedStudy, ScannedFile
from records.database import reading, unit_of_work
from records.tables import Job, Series
from tests.records.conftest import Rows

UID = "1.2.1"


def _planned(rows: Rows, headers: bytes | None) -> uuid.UUID:
    """Plan one job for the first of two parts of a series; return its id."""
    parts = [
        PlannedSeries(
            series_instance_uid=UID,
            part=part,
            modality="CT",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
            verdict="ok",
            files=[ScannedFile(path=f"{part}.dcm", size=10, verdict="ok")],
            headers=None if part else headers,
        )
        for part in range(2)
    ]
    plan = {"inputs": {"ct": {"chosen": [{"series_instance_uid": UID, "part": 0}]}}}
    job = PlannedJob(analysis_id=rows.analysis_id, plan=plan, models={"lungs": rows.model_id})
    with unit_of_work(rows.sessions) as session:
        batch = batches.create(session, NewBatch(source="in", analyses=["ct"]), by="tester").id
        lease = batches.claim_scan(session, batch, owner="desk", lease=timedelta(seconds=30))
        assert lease is not None
        study = PlannedStudy(study_instance_uid="1.2", series=parts, jobs=[job])
        batches.record_studies(session, lease, [study])
        return session.scalars(select(Job.id).where(Job.batch_id == batch)).one()


@pytest.mark.parametrize("headers", [None, bytes(range(256))])
def test_an_order_carries_the_headers_of_its_series(rows: Rows, headers: bytes | None) -> None:
    job = _planned(rows, headers)
    with reading(rows.sessions) as session:
        order = orders.read(session, job)
    assert order.source == "in"
    (one,) = order.inputs["ct"]
    assert (one.paths, one.headers) == (("0.dcm",), headers)


def test_who_lists_series_does_not_load_their_headers(rows: Rows) -> None:
    _planned(rows, b"many bytes")
    with reading(rows.sessions) as session:
        listed = session.scalars(select(Series)).all()
        assert len(listed) == 2
        assert all("headers" in inspect(one).unloaded for one in listed)
