"""The way of a training through its worker: real processes, a real database, a real store."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session, sessionmaker

from pipeline.errors import ComputeFailed
from pipeline.models import bundle
from pipeline.reasons import Reason
from records import audit, database, models, schedules, training_requests, trainings
from records.base import Stage, TrainingStatus
from records.database import reading, unit_of_work
from records.schedules import NewSchedule
from records.tables import Training
from records.trainings import NewTraining
from tests import quick_training
from worker import sharing, training
from worker.flights import Flight, Stop
from worker.heartbeat import Heartbeat
from worker.queue.settings import Settings
from worker.services import Services, make_services
from worker.store import Store
from worker.training import carrying

pytestmark = pytest.mark.system

LONG = quick_training.CLASSIFICATION | {"epochs": 100_000}


@pytest.fixture
def services(tmp_path: Path, sqlite_url: str) -> Services:
    settings = Settings(
        home=tmp_path / "home",
        database_url=sqlite_url,  # type: ignore[arg-type]
        device="cpu",
        threads=1,
        disk_reserve_bytes=2**20,
        lease=timedelta(seconds=60),
    )
    return trainer(settings)


def trainer(settings: Settings) -> Services:
    """Return the services of a worker that keeps its leases."""
    made = make_services(settings)
    Heartbeat(made.flights, made.sessions, stop_grace=timedelta(seconds=1)).start()
    return made


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    folder = tmp_path / "cases"
    folder.mkdir()
    return quick_training.write_images(folder)


def ask(services: Services, manifest: Path, recipe: dict[str, Any]) -> UUID:
    wish = NewTraining(recipe=recipe, manifest=str(manifest))
    with unit_of_work(services.sessions) as session:
        return trainings.create(session, wish, by="ada").id


def row(services: Services, training_id: UUID) -> Training:
    with reading(services.sessions) as session:
        return trainings.get(session, training_id)


def train(services: Services, manifest: Path, **changes: Any) -> UUID:
    training_id = ask(services, manifest, quick_training.CLASSIFICATION | changes)
    training.run(training_id, services)
    return training_id


def weights_of(services: Services) -> list[bytes]:
    with reading(services.sessions) as session:
        versions = models.versions(session, "quick")
    folders = [services.store.bundle_path(version.digest) for version in versions]
    return [(folder / bundle.WEIGHTS).read_bytes() for folder in folders]


@contextmanager
def training_behind(services: Services, training_id: UUID) -> Iterator[threading.Thread]:
    """Run a long training in a thread and wait for its first epochs."""
    thread = threading.Thread(target=training.run, args=(training_id, services))
    thread.start()
    try:
        until(lambda: row(services, training_id).progress.get("epoch", 0) >= 2)
        yield thread
    finally:
        for flight in services.flights.held():
            flight.ask_to_stop(Stop.CANCELED)
        thread.join(60)
        assert not thread.is_alive()


def until(happened: Any) -> None:
    for _ in range(2400):
        if happened():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def only_flight(services: Services) -> Flight:
    (flight,) = services.flights.held()
    return flight


def processes_of(training_id: UUID) -> list[int]:
    found = subprocess.run(
        ["pgrep", "-f", f"pipeline.training .*{training_id}"],  # noqa: S607 - from PATH
        capture_output=True,
        check=False,
    )
    return [int(word) for word in found.stdout.split()]


def test_a_training_ends_in_a_candidate_with_metrics_in_the_store(
    services: Services, manifest: Path
) -> None:
    training_id = train(services, manifest)
    ended = row(services, training_id)
    assert (ended.status, ended.detail) == (TrainingStatus.SUCCEEDED, None)
    with reading(services.sessions) as session:
        (version,) = models.versions(session, "quick")
        assert audit.verify(session).ok
    assert (version.version, version.stage) == ("1.0", Stage.CANDIDATE)
    assert version.training_id == training_id
    assert version.metrics["accuracy"]["value"] is not None
    assert ended.metrics == version.metrics
    kept = bundle.load(services.store.bundle_path(version.digest))
    assert kept.digest == version.digest
    assert version.bundle_metadata["training"]["snapshot_digest"] == ended.snapshot_digest
    assert ended.progress["epoch"] == 4
    assert [point["epoch"] for point in ended.progress["curve"]] == [1, 2, 3, 4]
    assert [*(services.store.root / "tensorboard" / str(training_id)).iterdir()]
    assert not (services.store.root / "trainings" / str(training_id)).exists()


def test_the_same_data_and_recipe_give_the_same_weights(services: Services, manifest: Path) -> None:
    for _ in range(2):
        train(services, manifest)
    with reading(services.sessions) as session:
        first, second = models.versions(session, "quick")
    assert (first.version, second.version) == ("1.0", "1.1")
    weights = weights_of(services)
    assert weights[0] == weights[1]
    assert first.metrics == second.metrics


def test_a_training_is_carried_once(services: Services, manifest: Path) -> None:
    training_id = train(services, manifest)
    training.run(training_id, services)
    with reading(services.sessions) as session:
        assert len(models.versions(session, "quick")) == 1


def test_a_version_that_is_taken_is_passed_over(services: Services, manifest: Path) -> None:
    with unit_of_work(services.sessions) as session:
        new = models.NewModelVersion(
            name="quick",
            version="1.0",
            digest="0" * 64,
            kind="classification",
            path="elsewhere",
            bundle_metadata={},
        )
        models.register(session, new, by="ada")
    train(services, manifest)
    with reading(services.sessions) as session:
        assert models.find(session, "quick", "1.1") is not None


def test_a_recipe_that_is_refused_says_why_and_trains_nothing(
    services: Services, manifest: Path
) -> None:
    ended = row(services, train(services, manifest, loss="hope"))
    assert (ended.status, ended.reason) == (TrainingStatus.REJECTED, "training.recipe_invalid")
    assert ended.detail is not None
    assert "loss" in ended.detail


def test_arguments_a_network_refuses_are_a_fault_of_the_recipe(
    services: Services, manifest: Path
) -> None:
    network = json.loads(json.dumps(quick_training.CLASSIFICATION["network"]))
    network["arguments"]["norm"] = "no such norm"
    ended = row(services, train(services, manifest, network=network))
    assert (ended.status, ended.reason) == (TrainingStatus.REJECTED, "training.recipe_invalid")


def test_faults_of_the_manifest_are_listed_in_the_row(services: Services, tmp_path: Path) -> None:
    rows = [("a.npy", "dark", "p", "train"), ("b.npy", "dark", "", "test")]
    ended = row(services, train(services, quick_training.write_manifest(tmp_path, rows)))
    assert (ended.status, ended.reason) == (TrainingStatus.REJECTED, "training.manifest_invalid")
    assert ended.detail is not None
    assert "row 1, image" in ended.detail
    assert "row 2, patient_id" in ended.detail


def test_a_canceled_training_stops_and_leaves_nothing(services: Services, manifest: Path) -> None:
    training_id = ask(services, manifest, LONG)
    with training_behind(services, training_id) as thread:
        assert processes_of(training_id)
        with unit_of_work(services.sessions) as session:
            training_requests.cancel(session, training_id, by="ada")
        thread.join(60)
    assert row(services, training_id).status is TrainingStatus.CANCELED
    assert processes_of(training_id) == []
    assert not (services.store.root / "trainings" / str(training_id)).exists()


def test_a_shutdown_gives_the_training_back_with_its_checkpoint(
    services: Services, manifest: Path
) -> None:
    training_id = ask(services, manifest, LONG)
    with training_behind(services, training_id) as thread:
        only_flight(services).ask_to_stop(Stop.SHUTDOWN)
        thread.join(60)
    back = row(services, training_id)
    assert (back.status, back.attempt) == (TrainingStatus.QUEUED, 0)
    assert processes_of(training_id) == []
    assert (services.store.root / "trainings" / str(training_id) / "checkpoint").exists()


def test_a_paused_training_gives_its_device_away_and_ends_elsewhere_as_if_unbroken(
    services: Services, manifest: Path
) -> None:
    recipe = quick_training.CLASSIFICATION | {"epochs": 150}
    paused = ask(services, manifest, recipe)
    with training_behind(services, paused) as thread:
        assert sharing.has_training(services.settings)
        with unit_of_work(services.sessions) as session:
            training_requests.pause(session, paused, by="ada")
        thread.join(60)
    assert row(services, paused).status is TrainingStatus.PAUSED
    assert processes_of(paused) == []
    assert not sharing.has_training(services.settings)
    with unit_of_work(services.sessions) as session:
        training_requests.resume(session, paused, by="ada")
    training.run(paused, trainer(services.settings))
    training.run(ask(services, manifest, recipe), services)
    first, second = weights_of(services)
    assert first == second


def test_a_training_lets_go_while_the_disk_is_full_and_waits_with_its_checkpoint(
    services: Services, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrying, "SECONDS_BETWEEN_LOOKS", 0.5)
    training_id = ask(services, manifest, LONG)
    full = replace(services, store=Store(services.store.root, reserve_bytes=2**60))
    training.run(training_id, full)
    assert row(services, training_id).attempt == 0  # not even claimed
    with training_behind(services, training_id) as thread:
        monkeypatch.setattr(services.store, "_reserve", 2**60)
        thread.join(60)
    waiting = row(services, training_id)
    assert (waiting.status, waiting.attempt) == (TrainingStatus.QUEUED, 0)
    assert waiting.reason == "run.disk_full"
    assert (services.store.root / "trainings" / str(training_id) / "checkpoint").exists()


def test_a_disk_that_is_full_before_anybody_looked_costs_no_attempt(
    services: Services, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(order: object, services: object) -> None:
        del order, services
        raise ComputeFailed("the disk of the store is full", Reason.RUN_DISK_FULL)

    monkeypatch.setattr(training.carrying.process, "started", fail)
    training_id = ask(services, manifest, LONG)
    training.run(training_id, services)
    waiting = row(services, training_id)
    assert (waiting.status, waiting.attempt) == (TrainingStatus.QUEUED, 0)
    assert waiting.reason == "run.disk_full"


def test_no_module_is_taken_from_the_folder_a_trainer_was_started_in(
    services: Services, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "random.py").write_text("raise SystemExit('taken from the wrong place')\n")
    monkeypatch.chdir(tmp_path)
    training_id = train(services, manifest, epochs=1)
    assert row(services, training_id).status is TrainingStatus.SUCCEEDED


def test_a_killed_process_costs_an_attempt_and_the_next_goes_on(
    services: Services, manifest: Path
) -> None:
    training_id = ask(services, manifest, LONG)
    with training_behind(services, training_id) as thread:
        for process in processes_of(training_id):
            subprocess.run(["kill", f"-{signal.SIGKILL}", str(process)], check=False)  # noqa: S607
        thread.join(60)
    waiting = row(services, training_id)
    assert (waiting.status, waiting.attempt) == (TrainingStatus.QUEUED, 1)
    reached = waiting.progress["epoch"]
    with unit_of_work(services.sessions) as session:
        session.execute(update(Training).values(not_before=None))
    seen: list[int] = []
    thread = threading.Thread(target=training.run, args=(training_id, services))
    thread.start()

    def has_gone_on() -> bool:
        seen.append(row(services, training_id).progress.get("epoch", 0))
        return seen[-1] > reached

    until(has_gone_on)
    only_flight(services).ask_to_stop(Stop.CANCELED)
    thread.join(60)
    assert min(epoch for epoch in seen if epoch) >= reached


def test_a_lost_lease_records_nothing(services: Services, manifest: Path) -> None:
    training_id = ask(services, manifest, LONG)
    with training_behind(services, training_id) as thread:
        with unit_of_work(services.sessions) as session:
            session.execute(update(Training).values(token=Training.token + 1, owner="another"))
        thread.join(60)
    after = row(services, training_id)
    assert (after.status, after.owner) == (TrainingStatus.RUNNING, "another")
    assert processes_of(training_id) == []


def test_a_schedule_leaves_a_candidate_that_is_promoted_and_taken_back(
    services: Services, manifest: Path
) -> None:
    train(services, manifest)
    new = NewSchedule(
        name="often",
        cron="* * * * *",
        recipe=quick_training.CLASSIFICATION,
        manifest=str(manifest),
    )
    with unit_of_work(services.sessions) as session:
        models.promote(session, "quick", "1.0", by="ada", why="the first", override=True)
        schedules.add(session, new, by="ada")
        later = database.now(session) + timedelta(minutes=1)
        (made,) = schedules.due(session, later)
    training.run(made, services)
    assert active(services.sessions) == "1.0"  # a training never switches by itself
    with unit_of_work(services.sessions) as session:
        models.promote(
            session, "quick", "1.1", by="grace", why="as good, newer cases", override=True
        )
    assert active(services.sessions) == "1.1"
    with unit_of_work(services.sessions) as session:
        models.rollback(session, "quick", by="grace", why="a bad night")
    assert active(services.sessions) == "1.0"


def active(sessions: sessionmaker[Session]) -> str | None:
    with reading(sessions) as session:
        found = models.active(session, "quick")
        return None if found is None else found.version


def test_a_training_begins_with_the_weights_of_a_registered_version(
    services: Services, manifest: Path
) -> None:
    train(services, manifest, epochs=1)
    with reading(services.sessions) as session:
        first = models.get(session, "quick", "1.0")
    changes = {"epochs": 1, "transfer": {"source": "quick@1.0"}}
    second = row(services, train(services, manifest, **changes))
    assert second.status is TrainingStatus.SUCCEEDED
    assert second.progress["transfer"]["digest"] == first.digest
    assert not second.progress["transfer"]["fresh"]
    with reading(services.sessions) as session:
        stated = models.get(session, "quick", "1.1").bundle_metadata["training"]["transfer"]
    assert (stated["source"], stated["digest"]) == ("quick@1.0", first.digest)


def test_a_source_that_is_not_registered_is_refused(services: Services, manifest: Path) -> None:
    training_id = train(services, manifest, transfer={"source": "quick@7.3"})
    ended = row(services, training_id)
    assert ended.status is TrainingStatus.REJECTED
    assert "quick@7.3" in (ended.detail or "")


def test_an_automatic_recipe_is_decided_by_the_cases(services: Services, manifest: Path) -> None:
    asked = {"auto": "classification", "name": "quick", "title": "Quick", "modalities": ["OT"]}
    training_id = ask(services, manifest, asked | {"minutes": 0.001})
    training.run(training_id, services)
    ended = row(services, training_id)
    assert ended.status is TrainingStatus.SUCCEEDED
    assert ended.progress["recipe"]["network"]["name"] == "ResNet"
    with reading(services.sessions) as session:
        assert models.get(session, "quick", "1.0").training_id == training_id
