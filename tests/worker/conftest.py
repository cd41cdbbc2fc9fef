from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from records import batches, database
from records.tables import Job
from tests.machine import LUNGS, write_studies
from worker.catalogue import register_analysis, register_shipped
from worker.queue.settings import Settings
from worker.services import Services, make_services
from worker.tasks import desk


@pytest.fixture(scope="session")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small CT studies and a text file."""
    folder = tmp_path_factory.mktemp("studies")
    write_studies(folder, 2)
    (folder / "note.txt").write_text("not DICOM")
    return folder


@pytest.fixture
def here(tmp_path: Path, database_url: str, redis_server: str) -> Iterator[Services]:
    """The services of one worker process, on each kind of database, with the shipped models."""
    settings = Settings(
        home=tmp_path / "home",
        database_url=SecretStr(database_url),
        broker_url=SecretStr(redis_server),
        lease=timedelta(seconds=60),
        disk_reserve_bytes=2**20,
        device="cpu",
        threads=1,
    )
    services = make_services(settings)
    register_shipped(services)
    document = tmp_path / "test-lungs.yaml"
    document.write_text(LUNGS)
    register_analysis(services, document)
    yield services
    services.app.close()
    services.sessions.kw["bind"].dispose()


@dataclass(frozen=True)
class Planned:
    """A batch that was scanned and planned, and its jobs."""

    batch: UUID
    jobs: list[UUID]


@pytest.fixture
def planned(here: Services, studies: Path) -> Planned:
    """The two studies as a planned batch."""
    with database.unit_of_work(here.sessions) as session:
        new = batches.NewBatch(source=str(studies), analyses=["test-lungs"])
        batch = batches.create(session, new, by="test").id
    desk.carry_scan(batch, here)
    with database.reading(here.sessions) as session:
        jobs = session.scalars(select(Job.id).where(Job.batch_id == batch).order_by(Job.id)).all()
    return Planned(batch, list(jobs))
