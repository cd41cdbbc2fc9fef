"""What people ask of jobs: to cancel them, and to try them again. One job, or all of a batch.

Rows are locked in the order batch, jobs by id, audit head, so that no two requests can deadlock.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, Row, and_, or_, select, update
from sqlalchemy.orm import Session

from records import history
from records.base import BatchStatus, JobStatus
from records.database import now
from records.history import Change
from records.leases import WAITS_AGAIN
from records.tables import Batch, Job
from records.transitions import IllegalTransition, NoSuchRecord

CANCELED: Final = "run.canceled"
RETRIABLE: Final = (JobStatus.FAILED, JobStatus.REJECTED, JobStatus.CANCELED)
_Locked: TypeAlias = Row[uuid.UUID, JobStatus, int]
_CHUNK: Final = 500  # ids in one statement


def cancel(session: Session, job_id: uuid.UUID, *, by: str) -> JobStatus:
    """Cancel a job; return its status now.

    One that waits is canceled at once; one that runs is asked to stop and stays ``running``
    until its worker heard. One that has ended stays as it is.

    Raises:
        NoSuchRecord: there is no such job.
    """
    cancel_jobs(session, Job.id == job_id, by=by, detail=f"Canceled by {by}.")
    return _status(session, job_id)


def retry(session: Session, job_id: uuid.UUID, *, by: str) -> None:
    """Let a job that did not succeed be tried again, with all its attempts.

    Raises:
        NoSuchRecord: there is no such job.
        IllegalTransition: the job waits, runs, or succeeded.
    """
    batch_id = session.scalar(select(Job.batch_id).where(Job.id == job_id))
    if batch_id is None:
        raise NoSuchRecord("job", job_id)
    reopen(session, batch_id)
    if retry_jobs(session, Job.id == job_id, by=by) == 0:
        raise IllegalTransition("job", job_id, _status(session, job_id), JobStatus.QUEUED)


def reopen(session: Session, batch_id: uuid.UUID) -> None:
    """Let a closed batch run again, because some of its jobs will; locks its row."""
    session.execute(
        select(Batch.id).where(Batch.id == batch_id).with_for_update(key_share=True)
    ).one()
    session.execute(
        update(Batch)
        .where(
            Batch.id == batch_id,
            Batch.status.in_((BatchStatus.FINISHED, BatchStatus.CANCELED)),
            Batch.planned_at.is_not(None),
        )
        .values(status=BatchStatus.RUNNING, finished_at=None, cancel_requested=False)
        .execution_options(synchronize_session=False)
    )


def cancel_jobs(session: Session, which: ColumnElement[bool], *, by: str, detail: str) -> int:
    """Cancel the waiting ones of these jobs, ask the running ones to stop; return how many."""
    alive = and_(which, Job.status.in_((JobStatus.QUEUED, JobStatus.RUNNING)))
    rows = _locked(session, alive)
    waiting = [row for row in rows if row.status is JobStatus.QUEUED]
    running = [row for row in rows if row.status is JobStatus.RUNNING]
    at = now(session)
    _write(session, running, cancel_requested=True)
    _write(
        session,
        waiting,
        status=JobStatus.CANCELED,
        reason=CANCELED,
        detail=detail,
        finished_at=at,
        not_before=None,
    )
    changes = _changes(waiting, JobStatus.CANCELED, by, CANCELED)
    history.note(session, changes, at)
    history.attest(session, changes)
    return len(rows)


def retry_jobs(
    session: Session, which: ColumnElement[bool], *, by: str, cause: str | None = None
) -> int:
    """Let these jobs wait again, with all their attempts; return how many.

    With a cause, only those whose reason is that code or of its family: ``pixels`` stands for
    ``pixels.undecodable`` too.
    """
    rows = _locked(session, and_(which, Job.status.in_(RETRIABLE), _has_cause(cause)))
    _write(
        session,
        rows,
        status=JobStatus.QUEUED,
        attempt=0,
        reason=None,
        detail=None,
        finished_at=None,
        not_before=None,
        cancel_requested=False,
        **WAITS_AGAIN,
    )
    changes = _changes(rows, JobStatus.QUEUED, by, None)
    at: datetime = now(session)
    history.note(session, changes, at)
    history.attest(session, changes, event_id="job.retried")
    return len(rows)


def _has_cause(cause: str | None) -> ColumnElement[bool]:
    if cause is None:
        return Job.id.is_not(None)
    return or_(Job.reason == cause, Job.reason.startswith(f"{cause}.", autoescape=True))


def _locked(session: Session, which: ColumnElement[bool]) -> Sequence[_Locked]:
    query = select(Job.id, Job.status, Job.attempt).where(which)
    return session.execute(query.order_by(Job.id).with_for_update(key_share=True)).all()


def _write(session: Session, rows: Sequence[_Locked], **values: Any) -> None:
    for ids in _chunks([row.id for row in rows]):
        session.execute(
            update(Job)
            .where(Job.id.in_(ids))
            .values(**values)
            .execution_options(synchronize_session=False)
        )


def _chunks(ids: Sequence[uuid.UUID]) -> Iterator[Sequence[uuid.UUID]]:
    for start in range(0, len(ids), _CHUNK):
        yield ids[start : start + _CHUNK]


def _changes(
    rows: Sequence[_Locked], after: JobStatus, by: str, reason: str | None
) -> list[Change]:
    return [
        Change(
            job_id=row.id,
            before=row.status,
            after=after,
            attempt=row.attempt,
            by=by,
            reason=reason,
        )
        for row in rows
    ]


def _status(session: Session, job_id: uuid.UUID) -> JobStatus:
    status = session.scalar(select(Job.status).where(Job.id == job_id))
    if status is None:
        raise NoSuchRecord("job", job_id)
    return status
