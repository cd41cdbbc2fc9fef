"""A finished batch to report on, written straight into the tables and the store."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session, sessionmaker

from records import database
from records.base import Base, BatchStatus, JobStatus, Stage
from records.database import unit_of_work
from records.tables import (
    Analysis,
    Artifact,
    Batch,
    File,
    Job,
    JobModel,
    ModelVersion,
    Result,
    Series,
    Study,
)

AT = datetime(2026, 1, 2, 22, 0, 0, tzinfo=UTC)


@dataclass
class Night:
    """One batch that ended. Every method adds what a test needs and commits."""

    sessions: sessionmaker[Session]
    store: Path
    batch_id: uuid.UUID = field(default_factory=lambda: uuid.UUID(int=0xBA7C4 << 96))
    analyses: dict[str, uuid.UUID] = field(default_factory=dict)
    models: dict[str, uuid.UUID] = field(default_factory=dict)
    _jobs: int = 0

    def __post_init__(self) -> None:
        self.add(
            Batch(
                id=self.batch_id,
                status=BatchStatus.FINISHED,
                source="/exports/night-12",
                analyses=["ct-chest"],
                created_by="tester",
                created_at=AT,
                planned_at=AT + timedelta(seconds=2),
                finished_at=AT + timedelta(seconds=90),
            )
        )

    def add(self, *rows: Base) -> None:
        with unit_of_work(self.sessions) as session:
            for row in rows:
                session.add(row)
                session.flush()

    def analysis(self, name: str, steps: Sequence[str] = ("lungs",)) -> uuid.UUID:
        if name not in self.analyses:
            row = Analysis(
                id=uuid.uuid5(uuid.NAMESPACE_OID, f"analysis {name}"),
                name=name,
                version="1",
                digest=hashlib.sha256(name.encode()).hexdigest(),
                document={"title": f"Title of {name}", "steps": [{"name": s} for s in steps]},
                created_at=AT,
            )
            self.add(row)
            self.analyses[name] = row.id
        return self.analyses[name]

    def model(self, name: str, *, is_demonstration: bool = False) -> uuid.UUID:
        if name not in self.models:
            row = ModelVersion(
                id=uuid.uuid5(uuid.NAMESPACE_OID, f"model {name}"),
                name=name,
                version="1.0.0",
                digest=hashlib.sha256(f"model {name}".encode()).hexdigest(),
                kind="segmentation",
                stage=Stage.ACTIVE,
                path="bundles/x",
                bundle_metadata={"nightshift": {"demonstration": is_demonstration}},
                created_at=AT,
            )
            self.add(row)
            self.models[name] = row.id
        return self.models[name]

    def study(self, uid: str) -> uuid.UUID:
        row = Study(id=uuid.uuid5(self.batch_id, uid), batch_id=self.batch_id)
        row.study_instance_uid = uid
        self.add(row)
        return row.id

    def series(self, study: uuid.UUID, uid: str, verdict: str = "ok", **columns: Any) -> uuid.UUID:
        row = Series(
            **{
                "id": uuid.uuid5(study, uid),
                "study_id": study,
                "series_instance_uid": uid,
                "modality": "CT",
                "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
                "instance_count": 2,
                "verdict": verdict,
                "attributes": {},
                **columns,
            }
        )
        self.add(row)
        return row.id

    def file(self, path: str, verdict: str = "ok", **columns: Any) -> None:
        self.add(File(batch_id=self.batch_id, path=path, size=9, verdict=verdict, **columns))

    def job(
        self,
        study: uuid.UUID,
        analysis: str = "ct-chest",
        status: JobStatus = JobStatus.SUCCEEDED,
        **columns: Any,
    ) -> uuid.UUID:
        self._jobs += 1
        row = Job(
            **{
                "id": uuid.uuid5(study, analysis),
                "batch_id": self.batch_id,
                "study_id": study,
                "analysis_id": self.analysis(analysis),
                "status": status,
                "plan": {},
                "attempt": 1,
                "report": {},
                "created_at": AT,
                "started_at": AT + timedelta(seconds=self._jobs),
                "finished_at": AT + timedelta(seconds=self._jobs + 4.2),
                **columns,
            }
        )
        self.add(row)
        return row.id

    def bind(self, job: uuid.UUID, step: str, model: str, **options: bool) -> uuid.UUID:
        model_id = self.model(model, **options)
        self.add(JobModel(job_id=job, step=step, model_version_id=model_id))
        return model_id

    def result(self, job: uuid.UUID, ordinal: int = 0, **columns: Any) -> None:
        self.add(
            Result(
                **{
                    "job_id": job,
                    "step": "lungs",
                    "ordinal": ordinal,
                    "kind": "segment",
                    "label": "Lung",
                    "model_version_id": self.model("threshold-lung"),
                    "payload": {},
                    **columns,
                }
            )
        )

    def artifact(self, job: uuid.UUID, name: str, data: bytes, **columns: Any) -> Path:
        sha256 = hashlib.sha256(data).hexdigest()
        blob = self.store / "blobs" / sha256[:2] / sha256
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        self.add(
            Artifact(
                **{
                    "job_id": job,
                    "name": name,
                    "kind": "overlay",
                    "media_type": "application/json" if name.endswith("json") else "image/webp",
                    "sha256": sha256,
                    "size": len(data),
                    **columns,
                }
            )
        )
        return blob


def plan(*chosen: str, others: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """Return a plan with one input that chose and passed over these series."""
    considered = [
        {"series_instance_uid": uid, "part": 0, "chosen": True, "because": "chosen"}
        for uid in chosen
    ] + [
        {"series_instance_uid": uid, "part": 0, "chosen": False, "because": because}
        for uid, because in others
    ]
    keys = [{"series_instance_uid": uid, "part": 0} for uid in chosen]
    return {"inputs": {"ct": {"chosen": keys, "considered": considered}}}


@pytest.fixture
def night(sessions: sessionmaker[Session], tmp_path: Path) -> Night:
    """An empty finished batch, on each kind of database."""
    return Night(sessions, tmp_path / "store")


@pytest.fixture
def lite_night(sqlite_url: str, tmp_path: Path) -> Iterator[Night]:
    """An empty finished batch on SQLite, for what does not differ between databases."""
    engine = database.connect(sqlite_url)
    yield Night(database.session_factory(engine), tmp_path / "store")
    engine.dispose()
