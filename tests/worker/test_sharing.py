from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pipeline.answers import StudyResult
from records import trainings
from records.base import JobStatus
from records.database import reading, unit_of_work
from records.tables import Job
from records.trainings import NewTraining
from tests import quick_training
from tests.worker.conftest import Planned
from worker import analysis, sharing, training
from worker.flights import Stop
from worker.heartbeat import Heartbeat
from worker.queue.devices import physical_devices
from worker.queue.settings import Settings
from worker.services import Services
from worker.tasks import inference

HOLD = """
import sys, time
from pathlib import Path
from worker import sharing
from worker.queue.settings import Settings
from worker.tasks import inference
with sharing.training_on(Settings(home=Path(sys.argv[1]), device="cpu")):
    print("held", flush=True)
    time.sleep(60)
"""


def on(home: Path, device: str = "cpu") -> Settings:
    return Settings(home=home, device=device)


def test_a_device_is_a_trainings_for_as_long_as_the_training_runs(tmp_path: Path) -> None:
    settings = on(tmp_path)
    assert not sharing.has_training(settings)
    with sharing.training_on(settings):
        assert sharing.has_training(settings)
        with sharing.training_on(settings):
            pass
        assert sharing.has_training(settings)
    assert not sharing.has_training(settings)


def test_a_killed_trainer_leaves_its_device(tmp_path: Path) -> None:
    words = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert sharing.has_training(on(tmp_path))
        os.kill(holder.pid, signal.SIGKILL)
    assert not sharing.has_training(on(tmp_path))


@pytest.mark.parametrize(
    ("visible", "device", "expected"),
    [
        ("", "auto", ["cpu"]),
        ("2,3", "cpu", ["cpu"]),
        ("2,3", "auto", ["gpu-2"]),
        ("2,3", "cuda", ["gpu-2"]),
        ("2,3", "cuda:1", ["gpu-3"]),
        ("2,3", "cuda:0,cuda:1", ["gpu-2", "gpu-3"]),
        ("2", "cuda:1", []),
    ],
)
def test_devices_are_called_alike_by_all_processes_of_a_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str, device: str, expected: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert physical_devices(on(tmp_path, device)) == expected


def test_a_training_on_another_device_is_nobodys_concern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with sharing.training_on(on(tmp_path, "cuda:1")):
        assert not sharing.has_training(on(tmp_path, "cuda:0"))
        assert sharing.has_training(on(tmp_path, "cuda:0,cuda:1"))


@pytest.mark.system
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_training_and_routine_jobs_go_on_side_by_side_the_jobs_one_at_a_time(
    here: Services, planned: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside: list[int] = []

    def carry(*given: Any) -> StudyResult:
        inside.append(here.gate._inside)
        return predict(*given)

    predict = analysis._predict
    monkeypatch.setattr(analysis, "_predict", carry)
    recipe = quick_training.CLASSIFICATION | {"epochs": 100_000}
    manifest = str(quick_training.write_images(tmp_path))
    with unit_of_work(here.sessions) as session:
        wish = NewTraining(recipe=recipe, manifest=manifest)
        training_id = trainings.create(session, wish, by="ada").id
    Heartbeat(here.flights, here.sessions, stop_grace=timedelta(seconds=1)).start()
    trainer = threading.Thread(target=training.run, args=(training_id, here))
    trainer.start()
    before = _epoch(here, training_id, more_than=0)
    runners = [
        threading.Thread(target=inference.carry_job, args=(job, here)) for job in planned.jobs
    ]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join(120)
    _epoch(here, training_id, more_than=before)
    for flight in here.flights.held():
        flight.ask_to_stop(Stop.CANCELED)
    trainer.join(60)
    with reading(here.sessions) as session:
        assert {session.get_one(Job, job).status for job in planned.jobs} == {JobStatus.SUCCEEDED}
    assert inside == [1, 1]


def _epoch(services: Services, training_id: UUID, *, more_than: int) -> int:
    for _ in range(1200):
        with reading(services.sessions) as session:
            epoch = int(trainings.get(session, training_id).progress.get("epoch", 0))
        if epoch > more_than:
            return epoch
        time.sleep(0.05)
    raise AssertionError("the training does not go on")
