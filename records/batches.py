"""Batches: made, scanned under a lease, planned, run, closed; canceled, tried again, taken up."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, case, exists, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from records import requests
from records.base import BatchStatus, JobStatus
from records.database import now
from records.plans import (
    PlannedJob,
    PlannedSeries,
    PlannedStudy,
    ScannedFile,
    record_studies,
)
from records.scans import (
    UPKEEP,
    attest,
    claim_scan,
    expire_scans,
    fail_scan,
    finish_plan,
    note_progress,
    release_scan,
    renew,
    scans_to_publish,
)
from records.tables import Batch, Job
from records.transitions import BATCH_ENDS, NoSuchRecord

__all__ = [
    "IdempotencyConflict",
    "NewBatch",
    "PlannedJob",
    "PlannedSeries",
    "PlannedStudy",
    "Retried",
    "ScannedFile",
    "adopt",
    "cancel",
    "claim_scan",
    "close_finished",
    "create",
    "expire_scans",
    "fail_scan",
    "finish_plan",
    "note_progress",
    "record_studies",
    "release_scan",
    "renew",
    "retry",
    "scans_to_publish",
]


class IdempotencyConflict(Exception):
    """The idempotency key was used before, for another request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBatch:
    """A request to run analyses over a source. The queue is that of its jobs."""

    source: str
    analyses: Sequence[str]
    out: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    queue: str = "infer.routine"
    lane: str = "shared"
    idempotency_key: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of what is asked for."""
        asked = [self.source, list(self.analyses), self.out, dict(self.options), self.queue]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Retried:
    """What waits again: how many jobs, and whether the scan of a batch that was never planned."""

    jobs: int
    scan: bool


def create(session: Session, new: NewBatch, *, by: str) -> Batch:
    """Make a batch that waits to be scanned; or return the one its idempotency key made before.

    Raises:
        IdempotencyConflict: the key was used for another request.
    """
    if (old := _by_key(session, new)) is not None:
        return old
    row = Batch(
        id=uuid.uuid4(),
        status=BatchStatus.SCANNING,
        source=new.source,
        out=new.out,
        analyses=list(new.analyses),
        options=dict(new.options),
        queue=new.queue,
        lane=new.lane,
        idempotency_key=new.idempotency_key,
        request_digest=new.digest,
        created_by=by,
        created_at=now(session),
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:  # PostgreSQL: the same key, committed since we looked
        if (old := _by_key(session, new)) is None:
            raise
        return old
    attest(session, "batch.created", "C", row.id, by, {"analyses": row.analyses})
    return row


def close_finished(session: Session, *, lane: str) -> list[uuid.UUID]:
    """Close the batches of ``lane`` of which no job waits or runs; return their ids.

    One that is to be canceled is closed from any lane, as its jobs are: its own may be gone.
    """
    return _close(session, or_(Batch.lane == lane, Batch.cancel_requested))


def cancel(session: Session, batch_id: uuid.UUID, *, by: str) -> BatchStatus:
    """Stop a batch: its scan, its waiting jobs at once, its running jobs as soon as they hear.

    Returns its status now; one that has ended stays as it is.

    Raises:
        NoSuchRecord: there is no such batch.
    """
    row = _locked(session, batch_id)
    if row.status in BATCH_ENDS:
        return row.status
    row.cancel_requested = True
    row.status = BatchStatus.RUNNING  # of a scan: whoever scans is fenced off
    row.owner = row.lease_until = None
    requests.cancel_jobs(
        session, Job.batch_id == batch_id, by=by, detail=f"{by} canceled the batch."
    )
    attest(session, "batch.cancel_requested", "U", batch_id, by)
    _close(session, Batch.id == batch_id)
    session.refresh(row)
    return row.status


def retry(session: Session, batch_id: uuid.UUID, *, by: str, cause: str | None = None) -> Retried:
    """Let jobs that did not succeed be tried again; return what waits again.

    Without a cause: those that failed or were canceled. With one, a reason code or the part
    before its dot: also the rejected ones, for when a decoder or a setting has changed.
    A batch that failed or was canceled before it was planned is scanned again.

    Raises:
        NoSuchRecord: there is no such batch.
    """
    row = _locked(session, batch_id)
    which = Job.batch_id == batch_id
    if cause is None:
        which &= Job.status.in_((JobStatus.FAILED, JobStatus.CANCELED))
    scan = row.planned_at is None and row.status in BATCH_ENDS
    if scan:
        _scan_again(row)
    count = requests.retry_jobs(session, which, by=by, cause=cause)
    if count:
        requests.reopen(session, batch_id)
    attest(session, "batch.retried", "U", batch_id, by, {"jobs": count, "cause": cause})
    return Retried(jobs=count, scan=scan)


def adopt(session: Session, batch_id: uuid.UUID, *, lane: str, by: str) -> None:
    """Take a batch up in another lane: its scan and its jobs are announced there.

    What a worker of the old lane still holds stays with it until its lease is over.

    Raises:
        NoSuchRecord: there is no such batch.
    """
    row = _locked(session, batch_id)
    row.lane, row.published_at, row.publish_count = lane, None, 0
    session.flush()
    theirs = (Job.batch_id == batch_id) & (Job.lane != lane)
    # in the order in which heartbeats lock them: the old lane may be alive
    session.execute(
        select(Job.id).where(theirs).order_by(Job.id).with_for_update(key_share=True)
    ).all()
    session.execute(
        update(Job)
        .where(theirs)
        .values(lane=lane, published_at=None, publish_count=0)
        .execution_options(synchronize_session=False)
    )
    attest(session, "batch.adopted", "U", batch_id, by)


def _by_key(session: Session, new: NewBatch) -> Batch | None:
    if new.idempotency_key is None:
        return None
    query = select(Batch).where(Batch.idempotency_key == new.idempotency_key)
    old = session.scalars(query).one_or_none()
    if old is not None and old.request_digest != new.digest:
        message = "this idempotency key was used before, for another request"
        raise IdempotencyConflict(message)
    return old


def _locked(session: Session, batch_id: uuid.UUID) -> Batch:
    query = select(Batch).where(Batch.id == batch_id).with_for_update(key_share=True)
    row = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if row is None:
        raise NoSuchRecord("batch", batch_id)
    return row


def _scan_again(row: Batch) -> None:
    row.status, row.attempt, row.cancel_requested = BatchStatus.SCANNING, 0, False
    row.owner = row.lease_until = row.not_before = row.published_at = row.finished_at = None
    row.reason = row.detail = None
    row.publish_count = 0


def _close(session: Session, which: ColumnElement[bool]) -> list[uuid.UUID]:
    """Close batches. Their rows are locked first: a retry may be giving one its jobs back."""
    session.flush()
    alive = exists().where(
        Job.batch_id == Batch.id, Job.status.in_((JobStatus.QUEUED, JobStatus.RUNNING))
    )
    ready = (which, Batch.status == BatchStatus.RUNNING, ~alive)
    locked = session.scalars(
        select(Batch.id).where(*ready).with_for_update(skip_locked=True, key_share=True)
    ).all()
    if not locked:
        return []
    after = case(
        (Batch.cancel_requested, BatchStatus.CANCELED.value), else_=BatchStatus.FINISHED.value
    )
    closed = session.execute(
        update(Batch)
        .where(Batch.id.in_(locked), *ready)
        .values(status=after, finished_at=now(session))
        .returning(Batch.id, Batch.status)
        .execution_options(synchronize_session=False)
    ).all()
    for row in closed:
        attest(session, f"batch.{row.status}", "U", row.id, UPKEEP)
    return [row.id for row in closed]
