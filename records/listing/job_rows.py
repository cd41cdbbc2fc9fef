"""Jobs as readers see them: what was chosen, what was tried, what came of it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from records.base import JobStatus
from records.listing.paging import AnyRow, AnySelect, Order, Page, Window, page
from records.tables import (
    Analysis,
    Artifact,
    Attempt,
    Job,
    JobEvent,
    JobModel,
    ModelVersion,
    Study,
)

ORDER: Final = Order(listing="jobs", columns=(Job.created_at, Job.id), newest_first=False)


@dataclass(frozen=True, kw_only=True)
class JobSummary:
    """One job in a list."""

    id: uuid.UUID
    batch_id: uuid.UUID
    study_instance_uid: str
    analysis: str
    analysis_version: str
    status: JobStatus
    queue: str
    attempt: int
    max_attempts: int
    cancel_requested: bool
    reason: str | None
    detail: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class BoundModel:
    """The model version that one step of a job is bound to."""

    step: str
    name: str
    version: str
    digest: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class AttemptRow:
    """One try of a job."""

    number: int
    token: int
    owner: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    reason: str | None
    detail: str | None


@dataclass(frozen=True, kw_only=True)
class EventRow:
    """One status change of a job."""

    at: datetime
    from_status: str | None
    to_status: str
    attempt: int
    reason: str | None
    detail: str | None


@dataclass(frozen=True, kw_only=True)
class JobDetail(JobSummary):
    """One job with its tries, its status changes, its models and its run report."""

    models: list[BoundModel]
    attempts: list[AttemptRow]
    events: list[EventRow]
    report: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why these series, and step by step what happened."""

    job: JobSummary
    #: per input the series chosen and considered, clause by clause; the steps as planned
    plan: dict[str, Any]
    #: what became of each step, in their order; empty until the job succeeds
    steps: list[dict[str, Any]]
    models: list[BoundModel]
    attempts: list[AttemptRow]
    events: list[EventRow]


@dataclass(frozen=True, kw_only=True)
class ArtifactRow:
    """A file that a job wrote."""

    name: str
    kind: str
    media_type: str
    sha256: str
    size: int


def jobs(
    session: Session,
    batch_id: uuid.UUID,
    *,
    statuses: Sequence[JobStatus] = (),
    limit: int = 50,
    cursor: str | None = None,
) -> Page[JobSummary]:
    """Return one page of the jobs of a batch, oldest first."""
    query = _jobs().where(Job.batch_id == batch_id)
    if statuses:
        query = query.where(Job.status.in_(statuses))
    return page(session, query, ORDER, Window(limit=limit, cursor=cursor), _summaries)


def job(session: Session, job_id: uuid.UUID) -> JobDetail | None:
    """Return one job, or None."""
    row = session.execute(_jobs().where(Job.id == job_id)).one_or_none()
    if row is None:
        return None
    return JobDetail(
        **vars(_summaries([row])[0]),
        models=_models(session, job_id),
        attempts=_attempts(session, job_id),
        events=_events(session, job_id),
        report=row.Job.report,
    )


def explain(session: Session, job_id: uuid.UUID) -> Explanation | None:
    """Return why a job took the series it took and what happened since, or None."""
    row = session.execute(_jobs().where(Job.id == job_id)).one_or_none()
    if row is None:
        return None
    return Explanation(
        job=_summaries([row])[0],
        plan=row.Job.plan,
        steps=(row.Job.report or {}).get("steps", []),
        models=_models(session, job_id),
        attempts=_attempts(session, job_id),
        events=_events(session, job_id),
    )


def artifacts(session: Session, job_id: uuid.UUID) -> list[ArtifactRow]:
    """Return the files that a job wrote, by name."""
    query = select(Artifact).where(Artifact.job_id == job_id).order_by(Artifact.name)
    return [_artifact(row) for row in session.scalars(query)]


def artifact(session: Session, job_id: uuid.UUID, name: str) -> ArtifactRow | None:
    """Return one file that a job wrote, or None."""
    asked = (Artifact.job_id == job_id) & (Artifact.name == name)
    row = session.scalars(select(Artifact).where(asked)).one_or_none()
    return None if row is None else _artifact(row)


def _jobs() -> AnySelect:
    return (
        select(Job, Study.study_instance_uid, Analysis.name, Analysis.version)
        .join(Study, Study.id == Job.study_id)
        .join(Analysis, Analysis.id == Job.analysis_id)
    )


def _summaries(rows: Sequence[AnyRow]) -> list[JobSummary]:
    return [
        JobSummary(
            id=row.Job.id,
            batch_id=row.Job.batch_id,
            study_instance_uid=row.study_instance_uid,
            analysis=row.name,
            analysis_version=row.version,
            status=row.Job.status,
            queue=row.Job.queue,
            attempt=row.Job.attempt,
            max_attempts=row.Job.max_attempts,
            cancel_requested=row.Job.cancel_requested,
            reason=row.Job.reason,
            detail=row.Job.detail,
            created_at=row.Job.created_at,
            started_at=row.Job.started_at,
            finished_at=row.Job.finished_at,
        )
        for row in rows
    ]


def _models(session: Session, job_id: uuid.UUID) -> list[BoundModel]:
    query = (
        select(JobModel.step, ModelVersion)
        .join(ModelVersion, ModelVersion.id == JobModel.model_version_id)
        .where(JobModel.job_id == job_id)
        .order_by(JobModel.step)
    )
    return [
        BoundModel(step=step, name=row.name, version=row.version, digest=row.digest, kind=row.kind)
        for step, row in session.execute(query)
    ]


def _attempts(session: Session, job_id: uuid.UUID) -> list[AttemptRow]:
    query = select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.token)
    return [
        AttemptRow(
            number=row.number,
            token=row.token,
            owner=row.owner,
            started_at=row.started_at,
            ended_at=row.ended_at,
            outcome=row.outcome,
            reason=row.reason,
            detail=row.detail,
        )
        for row in session.scalars(query)
    ]


def _events(session: Session, job_id: uuid.UUID) -> list[EventRow]:
    query = select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.id)
    return [
        EventRow(
            at=row.at,
            from_status=row.from_status,
            to_status=row.to_status,
            attempt=row.attempt,
            reason=row.reason,
            detail=row.detail,
        )
        for row in session.scalars(query)
    ]


def _artifact(row: Artifact) -> ArtifactRow:
    return ArtifactRow(
        name=row.name,
        kind=row.kind,
        media_type=row.media_type,
        sha256=row.sha256,
        size=row.size,
    )
