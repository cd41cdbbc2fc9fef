"""A trainer that dies in the middle of a training: another goes on, to the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from pipeline.models import bundle
from records import models, trainings
from records.base import TrainingStatus
from records.database import reading, unit_of_work
from records.tables import AuditRecord, Training
from records.trainings import NewTraining
from tests import quick_training
from worker import dispatch
from worker.queue.processes import environment_of
from worker.queue.settings import Settings
from worker.services import Services, make_services

pytestmark = pytest.mark.system

RECIPE = quick_training.CLASSIFICATION | {"epochs": 120}


class House:
    """Two trainers on one store, and the desk's part of the work."""

    def __init__(self, services: Services, trainers: list[subprocess.Popen[bytes]]) -> None:
        self.services = services
        self.trainers = {process.pid: process for process in trainers}

    def ask(self, manifest: Path) -> UUID:
        """Queue a training."""
        with unit_of_work(self.services.sessions) as session:
            wish = NewTraining(recipe=RECIPE, manifest=str(manifest))
            return trainings.create(session, wish, by="ada").id

    def row(self, training_id: UUID) -> Training:
        """Return the row as it is now."""
        with reading(self.services.sessions) as session:
            return trainings.get(session, training_id)

    def until(self, training_id: UUID, claim: Callable[[Training], bool]) -> Training:
        """Do as beat and desk do until ``claim`` holds of the training."""
        give_up = time.monotonic() + 150
        while not claim(row := self.row(training_id)):
            assert time.monotonic() < give_up, (row.status, row.progress, row.detail)
            with unit_of_work(self.services.sessions) as session:
                trainings.expire(session, lane="shared")
            dispatch.dispatch_all(self.services)
            time.sleep(0.2)
        return row

    def kill(self, owner: str | None) -> None:
        """Kill the trainer that holds a lease under this name."""
        pid = int((owner or "").split(":")[1])
        os.kill(pid, signal.SIGKILL)
        assert self.trainers.pop(pid).wait(10) == -signal.SIGKILL


@pytest.fixture
def house(tmp_path: Path, sqlite_url: str, redis_server: str) -> Iterator[House]:
    settings = Settings(
        home=tmp_path / "home",
        database_url=SecretStr(sqlite_url),
        broker_url=SecretStr(redis_server),
        lease=timedelta(seconds=4),
        resend_after=timedelta(seconds=1),
        disk_reserve_bytes=2**20,
        device="cpu",
        threads=1,
    )
    services = make_services(settings)
    words = [sys.executable, "-P", "-m", "worker", "trainer"]
    environment = os.environ | environment_of(settings)
    trainers = [subprocess.Popen(words, env=environment) for _ in range(2)]
    yield House(services, trainers)
    for process in trainers:
        process.kill()
        process.wait()
    services.app.close()


@pytest.mark.timeout(300)
def test_a_trainer_is_killed_and_another_ends_its_training_with_the_bytes_of_an_unbroken_one(
    house: House, tmp_path: Path
) -> None:
    manifest = quick_training.write_images(tmp_path)
    broken = house.ask(manifest)
    held = house.until(broken, lambda row: row.progress.get("epoch", 0) >= 3)
    house.kill(held.owner)
    ended = house.until(broken, lambda row: row.finished_at is not None)
    assert (ended.status, ended.attempt) == (TrainingStatus.SUCCEEDED, 2), ended.detail
    whole = house.ask(manifest)
    assert house.until(whole, lambda row: row.finished_at is not None).attempt == 1

    with reading(house.services.sessions) as session:
        started = select(AuditRecord.active_participant).where(
            AuditRecord.event_id == "training.started",
            AuditRecord.participant_object_id == str(broken),
        )
        assert len(set(session.scalars(started))) == 2
        versions = models.versions(session, "quick")
    store = house.services.store
    weights = [(store.bundle_path(one.digest) / bundle.WEIGHTS).read_bytes() for one in versions]
    assert len(weights) == 2
    assert weights[0] == weights[1]
