"""Which analyses a batch gets, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import select

from records import batches, database, models
from records.base import BatchStatus
from records.tables import Analysis, Batch, Job
from worker import tasks
from worker.services import Services


def scanned(here: Services, source: Path, names: Sequence[str]) -> tuple[Batch, set[str]]:
    """Scan a batch that asks for these analyses; return it and those its jobs have."""
    with database.unit_of_work(here.sessions) as session:
        new = batches.NewBatch(source=str(source), analyses=list(names))
        batch_id = batches.create(session, new, by="test").id
    tasks.carry_scan(batch_id, here)
    with database.reading(here.sessions) as session:
        query = select(Analysis.name).join(Job).where(Job.batch_id == batch_id)
        return session.get_one(Batch, batch_id), set(session.scalars(query))


@pytest.fixture
def without_detector(here: Services) -> Services:
    """Retire a model of one of the shipped analyses."""
    with database.unit_of_work(here.sessions) as session:
        name = "demo-ct-nodule-detection"
        active = models.active(session, name)
        assert active is not None
        models.retire(session, name, active.version, by="test", why="a demonstration")
    return here


def test_who_asks_for_all_gets_those_whose_models_are_active(
    without_detector: Services, studies: Path
) -> None:
    batch, used = scanned(without_detector, studies, [])
    assert batch.status is BatchStatus.RUNNING
    assert "ct-lungs" in used
    assert "ct-nodules-demo" not in used


def test_who_names_an_analysis_is_told_which_model_is_missing(
    without_detector: Services, studies: Path
) -> None:
    batch, used = scanned(without_detector, studies, ["ct-lungs", "ct-nodules-demo"])
    assert (batch.status, batch.reason) == (BatchStatus.FAILED, "model.unavailable")
    assert batch.detail == "no active version of demo-ct-nodule-detection"
    assert not used
