"""A machine with real processes for system and fault tests: broker, desk, inference, beat."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session, sessionmaker

from pipeline import phantoms
from pipeline.phantoms import PhantomParameters
from records import audit, batches, database
from records.base import BatchStatus
from records.tables import Attempt, Batch, Job, ModelVersion, Result, Study
from worker.catalogue import register_analysis, register_shipped
from worker.queue import broker
from worker.queue.devices import inference_environments
from worker.queue.processes import Supervisor
from worker.queue.settings import Settings
from worker.services import make_services

LUNGS = """
name: test-lungs
version: "1"
title: Lungs of a small CT
inputs:
  ct: {kind: volume, where: {modality: CT, minimum_slices: 8}}
steps:
  - {name: lungs, model: threshold-lung, input: ct}
outputs: [dicom-seg]
"""
#: anatomy scales with the field of view, so a small grid is a whole chest
TINY = PhantomParameters(shape=(16, 32, 32), spacing=(7.5, 10.4, 9.6), lesions=0)

SHORT_LEASES = {
    "lease": timedelta(seconds=5),
    "resend_after": timedelta(seconds=1),
    "stop_grace": timedelta(seconds=5),
    "disk_reserve_bytes": 2**20,
    "threads": 1,
    "device": "cpu",
}


def write_studies(
    folder: Path, count: int, parameters: PhantomParameters = TINY, *, first: int = 0
) -> None:
    """Write ``count`` small CT studies, told apart by numbers from ``first``."""
    phantom = phantoms.chest(parameters)
    for number in range(first, first + count):
        phantoms.write_series(phantom, folder / f"{number:03}", seed=number)


@dataclass
class Machine:
    """Real processes on one home. ``supervisor`` holds them; ``settings`` they all share."""

    settings: Settings
    supervisor: Supervisor
    sessions: sessionmaker[Session]
    socket: Path
    batches: list[UUID] = field(default_factory=list)

    def submit(self, source: Path, analyses: Sequence[str] = ("test-lungs",)) -> UUID:
        """Write the row of a batch, as API and command line do."""
        with database.unit_of_work(self.sessions) as session:
            new = batches.NewBatch(source=str(source), analyses=analyses, lane=self.settings.lane)
            self.batches.append(batches.create(session, new, by="test").id)
        return self.batches[-1]

    def wait(self, claim: Callable[[], bool], *, seconds: float = 90.0) -> None:
        """Tend the processes until ``claim`` holds."""
        give_up = time.monotonic() + seconds
        while not claim():
            assert time.monotonic() < give_up, f"not in time: {self.jobs()} {self.tails()}"
            self.supervisor.poll()
            time.sleep(0.05)

    def finish(self, batch_id: UUID, *, seconds: float = 90.0) -> None:
        """Tend the processes until the batch has ended."""
        ends = (BatchStatus.FINISHED, BatchStatus.FAILED, BatchStatus.CANCELED)
        self.wait(lambda: self.batch(batch_id).status in ends, seconds=seconds)

    def batch(self, batch_id: UUID) -> Batch:
        """Return the row of a batch as it is now."""
        with database.reading(self.sessions) as session:
            return session.get_one(Batch, batch_id)

    def jobs(self) -> Mapping[str, int]:
        """Count the jobs of every batch by status."""
        with database.reading(self.sessions) as session:
            query = select(Job.status, func.count()).group_by(Job.status)
            return {status.value: count for status, count in session.execute(query)}

    def rows(self) -> list[Row[Any]]:
        """Return what every result says, in an order of its own, without ids of this database."""
        with database.reading(self.sessions) as session:
            query = (
                select(
                    Study.study_instance_uid,
                    Result.step,
                    Result.ordinal,
                    Result.label,
                    Result.value,
                    Result.score,
                    ModelVersion.digest,
                )
                .join(Job, Job.id == Result.job_id)
                .join(Study, Study.id == Job.study_id)
                .join(ModelVersion, ModelVersion.id == Result.model_version_id)
                .order_by(Study.study_instance_uid, Result.step, Result.ordinal)
            )
            return list(session.execute(query))

    def check_invariants(self) -> None:
        """Nothing lost, nothing twice, nothing held, the audit chain whole."""
        with database.reading(self.sessions) as session:
            doubles = Counter(
                tuple(row)
                for row in session.execute(select(Result.job_id, Result.step, Result.ordinal))
            )
            assert not [key for key, count in doubles.items() if count > 1]
            assert not session.scalars(select(Job.id).where(Job.owner.is_not(None))).all()
            assert not session.scalars(select(Attempt.id).where(Attempt.ended_at.is_(None))).all()
            verdict = audit.verify(session)
            assert verdict.ok, verdict.sentence

    def tails(self) -> str:
        """Return the ends of the logs, for a failing test."""
        logs = sorted((self.settings.home / "logs").glob("*.log"))
        return "\n".join(f"== {log.name}\n{log.read_text()[-1500:]}" for log in logs)

    def events(self, name: str) -> list[dict[str, object]]:
        """Return what the workers logged under this event."""
        logs = (self.settings.home / "logs").glob("*.log")
        lines = [line for log in logs for line in log.read_text().splitlines()]
        said = [json.loads(line) for line in lines if line.startswith("{")]
        return [one for one in said if one.get("event") == name]


@contextmanager
def machine(
    home: Path,
    url: str,
    *,
    processes: int = 1,
    infer: Sequence[str] | None = None,
    **settings: object,
) -> Iterator[Machine]:
    """Start a machine on a migrated database and stop it at the end.

    ``infer`` is the command of its inference processes, where it is not the role.
    """
    home.mkdir(parents=True, exist_ok=True)
    folder = home / "redis"
    path = broker.prepare_socket(folder)
    chosen = Settings.model_validate(
        SHORT_LEASES
        | {
            "home": home,
            "database_url": SecretStr(url),
            "broker_url": SecretStr(broker.broker_url(path)),
            "inference_processes": processes,
        }
        | settings
    )
    services = make_services(chosen)
    register_shipped(services)
    document = home / "test-lungs.yaml"
    document.write_text(LUNGS)
    register_analysis(services, document)
    try:
        with Supervisor(chosen) as supervisor:
            command = broker.server_command(path, folder, persistent=False)
            supervisor.start("broker", command=command)
            broker.wait_until_answers(path)
            supervisor.start("desk")
            for environment in inference_environments(chosen):
                supervisor.start("infer", env=environment, command=infer)
            supervisor.start("beat")
            yield Machine(chosen, supervisor, services.sessions, path)
    finally:
        broker.remove_socket(path, folder)
        services.sessions.kw["bind"].dispose()


def living_children_of_init(marker: str) -> list[str]:
    """Return the command lines of orphans that carry ``marker`` in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
            state = (process / "stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        if marker.encode() in environment and state[0] != "Z" and int(process.name) != os.getpid():
            found.append((process / "cmdline").read_text().replace("\0", " "))
    return found
