"""What happened to jobs: attempts, events and audit records, written with the status they explain.

Every function here writes in the caller's transaction. The audit comes last, because its head
stays locked until the commit.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from records import audit
from records.base import JobStatus
from records.leases import Lease
from records.tables import Attempt, JobEvent

_OUTCOMES: Final[Mapping[JobStatus, int]] = {
    JobStatus.REJECTED: audit.MINOR_FAILURE,
    JobStatus.QUEUED: audit.MINOR_FAILURE,
    JobStatus.FAILED: audit.SERIOUS_FAILURE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One status change of one job, and who made it."""

    job_id: uuid.UUID
    before: JobStatus | None
    after: JobStatus
    attempt: int
    by: str
    reason: str | None = None
    detail: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def start_attempt(session: Session, lease: Lease, at: datetime) -> None:
    """Open the attempt of a lease that was just taken."""
    session.execute(
        insert(Attempt),
        [
            {
                "job_id": lease.id,
                "number": lease.attempt,
                "token": lease.token,
                "owner": lease.owner,
                "started_at": at,
            }
        ],
    )


def lost_before(session: Session, taken: Lease, *, reason: str) -> list[Change]:
    """Return the change that nobody wrote when this claim took over from a lost worker."""
    open_attempt = select(Attempt.owner).where(
        Attempt.job_id == taken.id, Attempt.ended_at.is_(None)
    )
    owner = session.scalars(open_attempt).one_or_none()
    if owner is None:
        return []
    return [
        Change(
            job_id=taken.id,
            before=JobStatus.RUNNING,
            after=JobStatus.QUEUED,
            attempt=taken.attempt - 1,
            by=owner,
            reason=reason,
        )
    ]


def end_attempts(
    session: Session,
    jobs: Sequence[uuid.UUID],
    *,
    outcome: str,
    at: datetime,
    reason: str | None = None,
    detail: str | None = None,
) -> None:
    """Close whatever attempt of these jobs is open."""
    session.execute(
        update(Attempt)
        .where(Attempt.job_id.in_(jobs), Attempt.ended_at.is_(None))
        .values(ended_at=at, outcome=outcome, reason=reason, detail=detail)
        .execution_options(synchronize_session=False)
    )


def note(session: Session, changes: Sequence[Change], at: datetime) -> None:
    """Write the events of these changes."""
    if not changes:
        return
    session.execute(
        insert(JobEvent),
        [
            {
                "job_id": change.job_id,
                "at": at,
                "from_status": change.before,
                "to_status": change.after,
                "attempt": change.attempt,
                "reason": change.reason,
                "detail": change.detail,
            }
            for change in changes
        ],
    )


def attest(session: Session, changes: Sequence[Change], *, event_id: str | None = None) -> None:
    """Append these changes to the audit chain; by default as ``job.<status>``."""
    audit.append_all(
        session,
        [
            audit.Statement(
                event_id=event_id or f"job.{change.after}",
                action="E" if change.before is JobStatus.RUNNING else "U",
                by=change.by,
                object_type="job",
                object_id=str(change.job_id),
                outcome=_outcome(change),
                detail={"attempt": change.attempt, **_because(change), **change.facts},
            )
            for change in changes
        ],
    )


def _outcome(change: Change) -> int:
    """Return the outcome of the attempt; what people ask for always succeeds."""
    ran = change.before is JobStatus.RUNNING or change.after is JobStatus.REJECTED
    return _OUTCOMES.get(change.after, audit.SUCCESS) if ran else audit.SUCCESS


def _because(change: Change) -> dict[str, str]:
    return {} if change.reason is None else {"reason": change.reason}
