"""How the whole installation stands: queues, leases, models and results in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import case, func, or_, select
from sqlalchemy.orm import Session

from records.base import JobStatus, TrainingStatus
from records.database import now
from records.listing.paging import AnySelect
from records.tables import Batch, Job, ModelVersion, Result, Training


@dataclass(frozen=True, kw_only=True)
class QueueStats:
    """One queue: its jobs by status, and how long the first of those that may start waits."""

    queue: str
    jobs: dict[str, int]
    oldest_queued_seconds: float


@dataclass(frozen=True, kw_only=True)
class LeaseStats:
    """Running work by whether its lease still holds. Expired ones are about to be taken back."""

    running: int
    expired: int


@dataclass(frozen=True, kw_only=True)
class PublishStats:
    """Jobs that may start and were not yet woken. A lag with idle workers means no dispatch."""

    unsent: int
    oldest_unsent_seconds: float


@dataclass(frozen=True, kw_only=True)
class Stats:
    """The numbers of one moment."""

    at: datetime
    queues: list[QueueStats]
    job_leases: LeaseStats
    training_leases: LeaseStats
    publish: PublishStats
    batches: dict[str, int]
    trainings: dict[str, int]
    model_stages: dict[str, int]
    results: dict[str, int]


def stats(session: Session) -> Stats:
    """Return the numbers of this moment, in nine queries."""
    at = now(session)
    return Stats(
        at=at,
        queues=_queues(session, at),
        job_leases=_leases(session, Job, JobStatus.RUNNING, at),
        training_leases=_leases(session, Training, TrainingStatus.RUNNING, at),
        publish=_publish(session, at),
        batches=_count(session, select(Batch.status, func.count()).group_by(Batch.status)),
        trainings=_count(session, select(Training.status, func.count()).group_by(Training.status)),
        model_stages=_count(
            session, select(ModelVersion.stage, func.count()).group_by(ModelVersion.stage)
        ),
        results=_count(session, select(Result.kind, func.count()).group_by(Result.kind)),
    )


def _count(session: Session, query: AnySelect) -> dict[str, int]:
    return {str(key): count for key, count in sorted(session.execute(query))}


def _queues(session: Session, at: datetime) -> list[QueueStats]:
    counts: dict[str, dict[str, int]] = {}
    query = select(Job.queue, Job.status, func.count()).group_by(Job.queue, Job.status)
    for queue, status, count in session.execute(query):
        counts.setdefault(queue, {})[status.value] = count
    waiting = select(Job.queue, func.min(Job.created_at)).where(*_may_start(at))
    oldest = dict(session.execute(waiting.group_by(Job.queue)).all())
    return [
        QueueStats(
            queue=queue,
            jobs=dict(sorted(jobs.items())),
            oldest_queued_seconds=_age(oldest.get(queue), at),
        )
        for queue, jobs in sorted(counts.items())
    ]


def _publish(session: Session, at: datetime) -> PublishStats:
    query = select(func.count(), func.min(Job.created_at))
    unsent, oldest = session.execute(query.where(*_may_start(at), Job.published_at.is_(None))).one()
    return PublishStats(unsent=unsent, oldest_unsent_seconds=_age(oldest, at))


def _leases(
    session: Session, table: type[Job | Training], running: JobStatus | TrainingStatus, at: datetime
) -> LeaseStats:
    over = case((table.lease_until < at, 1), else_=0)
    query = select(func.count(), func.sum(over)).where(table.status == running)
    count, expired = session.execute(query).one()
    return LeaseStats(running=count - int(expired or 0), expired=int(expired or 0))


def _may_start(at: datetime) -> tuple[Any, ...]:
    return Job.status == JobStatus.QUEUED, or_(Job.not_before.is_(None), Job.not_before <= at)


def _age(since: datetime | None, at: datetime) -> float:
    return 0.0 if since is None else max(0.0, (at - since).total_seconds())
