"""Batches as readers see them: how much of each is done, and how fast it goes."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from records.base import BatchStatus
from records.database import now
from records.listing.paging import AnyRow, Order, Page, Window, page
from records.tables import Batch, File, Job, Series, Study
from records.transitions import BATCH_ENDS, JOB_ENDS

ORDER: Final = Order(listing="batches", columns=(Batch.created_at, Batch.id))
#: the rate is measured over this last stretch of time
RATE_OVER: Final = timedelta(minutes=2)


@dataclass(frozen=True, kw_only=True)
class BatchSummary:
    """One batch in a list. ``jobs`` counts them by status; absent statuses have none."""

    id: uuid.UUID
    status: BatchStatus
    source: str
    analyses: list[str]
    queue: str
    lane: str
    created_by: str
    created_at: datetime
    planned_at: datetime | None
    finished_at: datetime | None
    cancel_requested: bool
    reason: str | None
    detail: str | None
    studies: int
    jobs: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a batch is. The rate is of jobs that ended lately; None where none did."""

    status: BatchStatus
    closed: bool
    files: dict[str, Any]
    jobs: dict[str, int]
    done: int
    total: int
    jobs_per_minute: float | None
    seconds_left: float | None


@dataclass(frozen=True, kw_only=True)
class BatchDetail(BatchSummary):
    """One batch with its files and series counted by verdict ('ok' or a reason code)."""

    files: dict[str, int]
    series: dict[str, int]
    #: wall time from the request to the end, or until now
    seconds: float
    progress: Progress


def batches(
    session: Session,
    *,
    status: BatchStatus | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[BatchSummary]:
    """Return one page of batches, newest first."""
    query = select(Batch)
    if status is not None:
        query = query.where(Batch.status == status)

    def make(rows: Sequence[AnyRow]) -> list[BatchSummary]:
        return _summaries(session, [row[0] for row in rows])

    return page(session, query, ORDER, Window(limit=limit, cursor=cursor), make)


def batch(session: Session, batch_id: uuid.UUID) -> BatchDetail | None:
    """Return one batch with its counts, or None."""
    row = session.get(Batch, batch_id)
    if row is None:
        return None
    (summary,) = _summaries(session, [row])
    until = row.finished_at or now(session)
    return BatchDetail(
        **vars(summary),
        files=_by_verdict(
            session,
            select(File.verdict, func.count())
            .where(File.batch_id == batch_id)
            .group_by(File.verdict),
        ),
        series=_by_verdict(
            session,
            select(Series.verdict, func.count())
            .join(Study, Study.id == Series.study_id)
            .where(Study.batch_id == batch_id)
            .group_by(Series.verdict),
        ),
        seconds=max(0.0, (until - row.created_at).total_seconds()),
        progress=_progress(session, row, summary.jobs),
    )


def progress(session: Session, batch_id: uuid.UUID) -> Progress | None:
    """Return how far one batch is, or None where there is no such batch. Cheap enough to poll."""
    row = session.get(Batch, batch_id, populate_existing=True)
    if row is None:
        return None
    return _progress(session, row, _jobs_by_status(session, [batch_id]).get(batch_id, {}))


def _progress(session: Session, row: Batch, counts: dict[str, int]) -> Progress:
    done = sum(counts.get(status, 0) for status in JOB_ENDS)
    total = sum(counts.values())
    closed = row.status in BATCH_ENDS
    rate = None if closed else _rate(session, row)
    left = (total - done) / rate if rate else None
    return Progress(
        status=row.status,
        closed=closed,
        files=row.progress,
        jobs=counts,
        done=done,
        total=total,
        jobs_per_minute=None if rate is None else round(rate * 60, 2),
        seconds_left=None if left is None else round(left, 1),
    )


def _rate(session: Session, row: Batch) -> float | None:
    """Return jobs ended per second, lately."""
    at = now(session)
    since = max(at - RATE_OVER, row.created_at)
    asked = (Job.batch_id == row.id) & (Job.finished_at > since)
    ended = session.scalar(select(func.count()).select_from(Job).where(asked)) or 0
    seconds = (at - since).total_seconds()
    return ended / seconds if ended and seconds > 0 else None


def _summaries(session: Session, rows: Sequence[Batch]) -> list[BatchSummary]:
    ids = [row.id for row in rows]
    jobs = _jobs_by_status(session, ids)
    asked = select(Study.batch_id, func.count()).where(Study.batch_id.in_(ids))
    studies = dict(session.execute(asked.group_by(Study.batch_id)).all())
    return [
        BatchSummary(
            id=row.id,
            status=row.status,
            source=row.source,
            analyses=row.analyses,
            queue=row.queue,
            lane=row.lane,
            created_by=row.created_by,
            created_at=row.created_at,
            planned_at=row.planned_at,
            finished_at=row.finished_at,
            cancel_requested=row.cancel_requested,
            reason=row.reason,
            detail=row.detail,
            studies=studies.get(row.id, 0),
            jobs=jobs.get(row.id, {}),
        )
        for row in rows
    ]


def _jobs_by_status(
    session: Session, batch_ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, dict[str, int]]:
    query = select(Job.batch_id, Job.status, func.count()).where(Job.batch_id.in_(batch_ids))
    counts: dict[uuid.UUID, dict[str, int]] = {}
    for batch_id, status, count in session.execute(query.group_by(Job.batch_id, Job.status)):
        counts.setdefault(batch_id, {})[status.value] = count
    return counts


def _by_verdict(session: Session, query: Any) -> dict[str, int]:
    return dict(sorted(session.execute(query).all()))
