from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from records import database, drifts
from records.base import BatchStatus, JobStatus
from records.tables import Batch, Job
from tests.worker.conftest import Planned
from worker import analysis, upkeep
from worker.services import Services
from worker.tasks import inference
from worker.upkeep import Upkeep


def test_a_tick_takes_back_a_silent_workers_job(here: Services, planned: Planned) -> None:
    assert analysis.claim(planned.jobs[0], here) is not None
    with database.unit_of_work(here.sessions) as session:
        long_ago = database.now(session) - timedelta(hours=1)
        session.execute(update(Job).where(Job.id == planned.jobs[0]).values(lease_until=long_ago))
    Upkeep(here).tick()
    with database.reading(here.sessions) as session:
        job = session.get_one(Job, planned.jobs[0])
    assert (job.status, job.reason) == (JobStatus.QUEUED, "run.worker_lost")


def test_a_tick_closes_a_batch_whose_jobs_have_ended(here: Services, planned: Planned) -> None:
    for job in planned.jobs:
        inference.carry_job(job, here)
    Upkeep(here).tick()
    with database.reading(here.sessions) as session:
        assert session.scalars(select(Batch.status)).one() is BatchStatus.FINISHED


def test_ticks_that_piled_up_are_answered_once(
    here: Services, planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "SHORTEST_SECONDS", 3600.0)
    at_hand = Upkeep(here)
    at_hand.tick()
    for job in planned.jobs:
        inference.carry_job(job, here)
    at_hand.tick()
    with database.reading(here.sessions) as session:
        assert session.scalars(select(Batch.status)).one() is BatchStatus.RUNNING


def test_a_tick_looks_at_the_drift_of_what_has_answered(here: Services, planned: Planned) -> None:
    for job in planned.jobs:
        inference.carry_job(job, here)
    at_hand = Upkeep(here)
    at_hand.tick()
    with database.reading(here.sessions) as session:
        (look,) = drifts.latest_of_all(session)
    assert (look.analysis, look.drifted) == ("test-lungs", False)
    assert look.document["reference"]["jobs"] == 2
    assert "intensity.mean" in look.document["too_few"]
