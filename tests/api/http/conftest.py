"""An app over a small world of rows, and a client for every role."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import update
from sqlalchemy.orm import Session, sessionmaker

from api.http.app import create_app
from records import keys
from records.base import BatchStatus, JobStatus, Stage
from records.database import unit_of_work
from records.keys import Role
from records.tables import (
    Analysis,
    Artifact,
    Attempt,
    Batch,
    File,
    Job,
    JobEvent,
    JobModel,
    ModelVersion,
    Result,
    Series,
    Study,
    Training,
)
from worker.queue.settings import Settings

AT = datetime(2026, 1, 1, tzinfo=UTC)
PICTURE = b"\x89PNG\r\n\x1a\n and so on"


class World:
    """A finished batch of three studies: one succeeded, one rejected, one failed."""

    def __init__(self, sessions: sessionmaker[Session], store: Path) -> None:
        self.sessions = sessions
        self.store = store
        self.analysis_id, self.batch_id = uuid.uuid4(), uuid.uuid4()
        self.first_id, self.second_id, self.other_id = (uuid.uuid4() for _ in range(3))
        self.done, self.rejected, self.failed = (uuid.uuid4() for _ in range(3))
        with unit_of_work(sessions) as session:
            session.add_all([self._analysis(), *self._models(), self._batch()])
            session.flush()
            studies = self._studies(session)
            session.add_all(self._jobs(studies))
            session.flush()
            session.add_all(self._outcome())

    def submit(self, count: int, *, batch_id: uuid.UUID | None = None) -> list[uuid.UUID]:
        """Add ``count`` queued jobs, each a second younger than the one before."""
        batch_id = batch_id or self.batch_id
        studies = [
            Study(id=uuid.uuid4(), batch_id=batch_id, study_instance_uid=f"2.25.{uuid.uuid4().int}")
            for _ in range(count)
        ]
        jobs = [
            self._job(uuid.uuid4(), study.id, JobStatus.QUEUED, batch_id=batch_id, offset=10 + i)
            for i, study in enumerate(studies)
        ]
        with unit_of_work(self.sessions) as session:
            session.add_all(studies)
            session.flush()
            session.add_all(jobs)
        return [job.id for job in jobs]

    def add_batches(self, count: int, *, start: int = 0) -> list[uuid.UUID]:
        """Add batches, each a minute younger than the one before."""
        rows = [self._batch(uuid.uuid4(), start + 1 + i) for i in range(count)]
        with unit_of_work(self.sessions) as session:
            session.add_all(rows)
        return [row.id for row in rows]

    def move(self, lane: str) -> None:
        """Put the batch and its jobs into a lane."""
        with unit_of_work(self.sessions) as session:
            session.execute(update(Batch).values(lane=lane))
            session.execute(update(Job).values(lane=lane))

    def lane_of(self, job_id: uuid.UUID) -> str:
        """Return the lane of a job."""
        with unit_of_work(self.sessions) as session:
            return session.get_one(Job, job_id).lane

    def training(self) -> uuid.UUID:
        """Add a queued training."""
        row = Training(
            id=uuid.uuid4(), recipe={"name": "r"}, recipe_digest="a" * 64, manifest="cases.csv",
            created_by="tester", created_at=AT,
        )  # fmt: skip
        with unit_of_work(self.sessions) as session:
            session.add(row)
        return row.id

    def _analysis(self) -> Analysis:
        steps = [{"name": "lungs"}, {"name": "air"}]
        return Analysis(
            id=self.analysis_id, name="ct-chest", version="1", digest="0" * 64, created_at=AT,
            document={"title": "Chest", "steps": steps},
        )  # fmt: skip

    def _models(self) -> list[ModelVersion]:
        def row(key: uuid.UUID, name: str, version: str, stage: Stage) -> ModelVersion:
            return ModelVersion(
                id=key, name=name, version=version, stage=stage, kind="threshold",
                digest=hashlib.sha256(f"{name}{version}".encode()).hexdigest(),
                path=f"bundles/{name}", bundle_metadata={"task": "lungs"},
                created_at=AT + timedelta(seconds=int(version)),
            )  # fmt: skip

        return [
            row(self.first_id, "lung", "1", Stage.ACTIVE),
            row(self.second_id, "lung", "2", Stage.CANDIDATE),
            row(self.other_id, "body", "1", Stage.RETIRED),
        ]

    def _batch(self, key: uuid.UUID | None = None, offset: int = 0) -> Batch:
        return Batch(
            id=key or self.batch_id, status=BatchStatus.FINISHED, source="export",
            analyses=["ct-chest"], created_by="tester", created_at=AT + timedelta(minutes=offset),
            planned_at=AT, finished_at=AT + timedelta(minutes=offset + 5),
            progress={"files_seen": 3},
        )  # fmt: skip

    def _studies(self, session: Session) -> list[Study]:
        rows = [
            Study(id=uuid.uuid4(), batch_id=self.batch_id, study_instance_uid=f"1.2.{n}")
            for n in (10, 9, 8)
        ]
        session.add_all(rows)
        session.flush()
        series = Series(
            id=uuid.uuid4(), study_id=rows[0].id, series_instance_uid="1.2.10.1", modality="CT",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.2", instance_count=2, verdict="ok",
            attributes={},
        )  # fmt: skip
        session.add(series)
        session.flush()
        for number, verdict in enumerate(["ok", "ok", "file.not_dicom"]):
            session.add(File(batch_id=self.batch_id, path=f"f{number}", size=1, verdict=verdict))
        return rows

    def _jobs(self, studies: list[Study]) -> list[Job]:
        done, rejected, failed = studies
        return [
            self._job(self.done, done.id, JobStatus.SUCCEEDED, offset=0, attempt=2),
            self._job(
                self.rejected, rejected.id, JobStatus.REJECTED, offset=1,
                reason="series.missing_slice", detail="A slice is missing.",
            ),
            self._job(
                self.failed, failed.id, JobStatus.FAILED, offset=2,
                reason="run.out_of_memory", detail="No memory.", attempt=3,
            ),
        ]  # fmt: skip

    def _job(
        self, key: uuid.UUID, study_id: uuid.UUID, status: JobStatus, offset: int, **more: Any
    ) -> Job:
        columns = {"batch_id": self.batch_id, "plan": {"inputs": {"ct": {}}}, **more}
        ended = None if status is JobStatus.QUEUED else AT + timedelta(minutes=1)
        return Job(
            id=key, study_id=study_id, analysis_id=self.analysis_id, status=status,
            created_at=AT + timedelta(seconds=offset), finished_at=ended, **columns,
        )  # fmt: skip

    def _outcome(self) -> list[Any]:
        sha256 = hashlib.sha256(PICTURE).hexdigest()
        blob = self.store / "blobs" / sha256[:2] / sha256
        blob.parent.mkdir(parents=True)
        blob.write_bytes(PICTURE)
        attempts = [
            Attempt(
                job_id=self.done, number=n, token=n, owner="host:1:a", started_at=AT,
                ended_at=AT, outcome=outcome,
            )
            for n, outcome in ((1, "lost"), (2, "succeeded"))
        ]  # fmt: skip
        event = JobEvent(
            job_id=self.done, at=AT, from_status="queued", to_status="running", attempt=1
        )
        model = JobModel(job_id=self.done, step="lungs", model_version_id=self.first_id)
        picture = Artifact(
            job_id=self.done, name="overlay.png", kind="overlay", media_type="image/png",
            sha256=sha256, size=len(PICTURE),
        )  # fmt: skip
        return [*attempts, event, model, picture, *self._results()]

    def _results(self) -> list[Result]:
        def row(step: str, ordinal: int, **columns: Any) -> Result:
            return Result(
                job_id=self.done, step=step, ordinal=ordinal, kind="segment",
                series_instance_uid="1.2.10.1", model_version_id=self.first_id, **columns,
            )  # fmt: skip

        return [
            row("air", 0, label="trachea, left", value=0.1 + 0.2, unit="ml", score=0.5),
            row("lungs", 1, label="right lung", value=2000000.0, unit="mm3"),
            row("lungs", 0, label="left lung", code="SCT:39607008", payload={"box": [1, 2]}),
        ]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Folder of artifacts."""
    return tmp_path / "home" / "store"


@pytest.fixture
def world(sessions: sessionmaker[Session], store: Path) -> World:
    """Rows to read, on each kind of database."""
    return World(sessions, store)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder below the source root ``tmp_path / "root"``."""
    folder = tmp_path / "root" / "export"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def settings(tmp_path: Path, database_url: str, source: Path) -> Settings:
    """Settings of an API that needs keys."""
    return Settings.model_validate(
        {
            "home": tmp_path / "home",
            "database_url": database_url,
            "broker_url": f"redis+socket://{tmp_path / 'nobody.sock'}",
            "source_roots": (source.parent,),
        }
    )


@pytest.fixture
def app(settings: Settings, sessions: sessionmaker[Session]) -> FastAPI:
    """The app, over the database of the test."""
    return create_app(settings, sessions)


Clients = Callable[..., TestClient]


@pytest.fixture
def clients(app: FastAPI, sessions: sessionmaker[Session]) -> Clients:
    """Make a client whose key has the given roles; without roles it sends no key."""

    def make(*roles: Role) -> TestClient:
        client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
        if roles:
            name = "-".join(roles)
            with unit_of_work(sessions) as session:
                made = keys.create(session, name=name, roles=roles, by="tester")
            client.headers["Authorization"] = f"Bearer {made.secret}"
        return client

    return make


@pytest.fixture
def admin(clients: Clients) -> TestClient:
    """A client that may do everything."""
    return clients(Role.ADMIN)


def problem(response: Any, status: int, kind: str) -> dict[str, Any]:
    """Return the problem that a response must be."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["type"] == f"urn:nightshift:problem:{kind}"
    assert body["status"] == status
    assert body["instance"] == f"urn:uuid:{response.headers['x-request-id']}"
    return body
