"""Models of a worker process: loaded by the first job, counted, and within their budget."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from prometheus_client import REGISTRY

from records import database
from records.tables import Job
from tests.worker.conftest import Planned
from worker.queue import devices
from worker.queue.settings import Settings
from worker.services import Services
from worker.tasks import inference
from worker.warm import Models


def report(here: Services, job_id: UUID) -> dict[str, object]:
    with database.reading(here.sessions) as session:
        said = session.get_one(Job, job_id).report
    assert said is not None
    return dict(said)


def loads() -> float:
    return REGISTRY.get_sample_value("nightshift_model_loads_total") or 0.0


def test_the_first_job_loads_a_model_and_the_second_finds_it_loaded(
    here: Services, planned: Planned
) -> None:
    before = loads()
    for job_id in planned.jobs:
        inference.carry_job(job_id, here)
    first, second = (report(here, job_id) for job_id in planned.jobs)
    assert first["models_loaded"] == ["lungs"]
    assert second["models_loaded"] == []
    assert loads() == before + 1
    seconds = second["seconds"]
    assert isinstance(seconds, dict)
    assert seconds["model_load"] < 0.1


@pytest.mark.parametrize("stated", [0, 12345])
def test_the_budget_is_the_one_set_or_a_share_of_the_memory(tmp_path: Path, stated: int) -> None:
    models = Models(Settings(home=tmp_path, device="cpu", model_memory=stated))
    budget = models.prepare().budget
    assert budget is not None
    assert budget == stated if stated else 2**27 < budget < 2**45


@pytest.mark.parametrize("processes", [1, 4])
def test_sums_may_take_what_is_set_or_a_share_of_the_memory(tmp_path: Path, processes: int) -> None:
    settings = Settings(home=tmp_path, device="cpu", inference_processes=processes)
    sums = Models(settings).prepare().device.sums
    assert sums == devices.usable_memory() // processes // 4
    stated = Models(settings.model_copy(update={"sums_memory": 12345})).prepare().device.sums
    assert stated == 12345
