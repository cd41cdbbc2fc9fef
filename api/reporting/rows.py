"""The rows a report is made of, read a chunk of jobs at a time."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from records.base import JobStatus
from records.database import reading
from records.listing import ArtifactRow, ResultRow, ordered_jobs, results_of
from records.tables import Analysis, Artifact, Job, JobModel, ModelVersion, Result, Study

#: jobs in memory at once
CHUNK: Final = 200


@dataclass(frozen=True, kw_only=True)
class BoundModel:
    """The model version one step of a job was bound to."""

    step: str
    name: str
    version: str
    digest: str
    is_demonstration: bool


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """One job with its models, results and artifacts."""

    id: uuid.UUID
    study_instance_uid: str
    analysis: str
    analysis_version: str
    analysis_title: str
    status: JobStatus
    reason: str | None
    detail: str | None
    attempt: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    plan: dict[str, Any]
    report: dict[str, Any]
    models: tuple[BoundModel, ...]
    results: tuple[ResultRow, ...]
    artifacts: tuple[ArtifactRow, ...]

    @property
    def seconds(self) -> float | None:
        """Seconds from the first claim to the end, None while there is no end."""
        if self.started_at is None or self.finished_at is None:
            return None
        return max(0.0, (self.finished_at - self.started_at).total_seconds())

    def considered(self) -> Iterator[dict[str, Any]]:
        """Yield what the plan says of every series it looked at, once per input."""
        for selection in self.plan.get("inputs", {}).values():
            yield from selection.get("considered", ())

    def chosen(self) -> set[tuple[str, int]]:
        """Return (series, part) of every series chosen for any input."""
        return {
            (str(one.get("series_instance_uid")), int(one.get("part", 0)))
            for selection in self.plan.get("inputs", {}).values()
            for one in selection.get("chosen", ())
        }


def jobs(
    sessions: sessionmaker[Session], batch_id: uuid.UUID, *, most: int | None = None
) -> Iterator[JobRow]:
    """Yield the jobs of a batch by study and analysis, at most ``most`` of them.

    No transaction is open while the caller works with a job.
    """
    with reading(sessions) as session:
        ids = ordered_jobs(session, batch_id)[:most]
    for start in range(0, len(ids), CHUNK):
        with reading(sessions) as session:
            chunk = _chunk(session, ids[start : start + CHUNK])
        yield from chunk


def result_count(session: Session, batch_id: uuid.UUID) -> int:
    """Return how many results the jobs of a batch have."""
    asked = (
        select(func.count())
        .select_from(Result)
        .join(Job, Job.id == Result.job_id)
        .where(Job.batch_id == batch_id)
    )
    return session.scalar(asked) or 0


def _chunk(session: Session, ids: Sequence[uuid.UUID]) -> list[JobRow]:
    results: dict[uuid.UUID, list[ResultRow]] = defaultdict(list)
    for row in results_of(session, ids):
        results[row.job].append(row)
    models = _models(session, ids)
    artifacts = _artifacts(session, ids)
    query = (
        select(Job, Study.study_instance_uid, Analysis.name, Analysis.version, Analysis.document)
        .join(Study, Study.id == Job.study_id)
        .join(Analysis, Analysis.id == Job.analysis_id)
        .where(Job.id.in_(ids))
    )
    found = {
        row.Job.id: JobRow(
            id=row.Job.id,
            study_instance_uid=row.study_instance_uid,
            analysis=row.name,
            analysis_version=row.version,
            analysis_title=str(row.document.get("title") or row.name),
            status=row.Job.status,
            reason=row.Job.reason,
            detail=row.Job.detail,
            attempt=row.Job.attempt,
            created_at=row.Job.created_at,
            started_at=row.Job.started_at,
            finished_at=row.Job.finished_at,
            plan=row.Job.plan,
            report=row.Job.report or {},
            models=tuple(models[row.Job.id]),
            results=tuple(results[row.Job.id]),
            artifacts=tuple(artifacts[row.Job.id]),
        )
        for row in session.execute(query)
    }
    return [found[job_id] for job_id in ids if job_id in found]


def _models(session: Session, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[BoundModel]]:
    query = (
        select(JobModel.job_id, JobModel.step, ModelVersion)
        .join(ModelVersion, ModelVersion.id == JobModel.model_version_id)
        .where(JobModel.job_id.in_(ids))
        .order_by(JobModel.step)
    )
    found: dict[uuid.UUID, list[BoundModel]] = defaultdict(list)
    for job_id, step, model in session.execute(query):
        block = model.bundle_metadata.get("nightshift", {})
        found[job_id].append(
            BoundModel(
                step=step,
                name=model.name,
                version=model.version,
                digest=model.digest,
                is_demonstration=bool(block.get("demonstration")),
            )
        )
    return found


def _artifacts(session: Session, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[ArtifactRow]]:
    query = select(Artifact).where(Artifact.job_id.in_(ids)).order_by(Artifact.id)
    found: dict[uuid.UUID, list[ArtifactRow]] = defaultdict(list)
    for row in session.scalars(query):
        found[row.job_id].append(
            ArtifactRow(
                name=row.name,
                kind=row.kind,
                media_type=row.media_type,
                sha256=row.sha256,
                size=row.size,
            )
        )
    return found
