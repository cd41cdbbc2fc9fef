"""Jobs: claimed, carried and finished under a lease. The only way a job changes its status.

Every change is a conditional update; attempt, event and audit record are written with it, in the
transaction of the caller. A job's results exist only once it succeeded, and then exactly once.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import insert
from sqlalchemy.orm import Session

from records import bindings, history, leases, wakes
from records.base import JobStatus
from records.database import now
from records.history import Change
from records.leases import LET_GO, WAITS_AGAIN, Kind, Lapsed, Lease, Renewal
from records.requests import CANCELED, cancel, retry
from records.tables import Artifact, Result
from records.wakes import Wake

WORKER_LOST: Final = "run.worker_lost"

__all__ = [
    "NewArtifact",
    "NewResult",
    "cancel",
    "claim",
    "expire",
    "fail",
    "finish_canceled",
    "reject",
    "release",
    "renew",
    "retry",
    "succeed",
    "to_publish",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewResult:
    """One statement of a job; the columns of ``results``."""

    step: str
    ordinal: int
    kind: str
    label: str
    model_version_id: uuid.UUID
    code: str | None = None
    value: float | None = None
    unit: str | None = None
    score: float | None = None
    series_instance_uid: str | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewArtifact:
    """A file a job wrote, already in the store; the columns of ``artifacts``."""

    name: str
    kind: str
    media_type: str
    sha256: str
    size: int


def claim(session: Session, job_id: uuid.UUID, *, owner: str, lease: timedelta) -> Lease | None:
    """Take a job that waits, or whose worker was lost. None: there is nothing to do.

    No job is handed out with a recalled version: the active one stands in, or it is canceled.
    """
    taken = leases.claim(session, Kind.JOB, job_id, owner=owner, lease=lease)
    if taken is None:
        return None
    at = now(session)
    lost = history.lost_before(session, taken, reason=WORKER_LOST)
    claimed = Change(
        job_id=job_id,
        before=JobStatus.QUEUED,
        after=JobStatus.RUNNING,
        attempt=taken.attempt,
        by=owner,
    )
    history.end_attempts(session, [job_id], outcome="lost", at=at, reason=WORKER_LOST)
    history.start_attempt(session, taken, at)
    history.note(session, [*lost, claimed], at)
    # a person, a scan or a worker may have let it wait since the recall
    without = bindings.rebind(session, [job_id], by=owner)
    history.attest(session, lost, event_id="job.expired")
    if job_id in without:
        _let_go(session, taken, _Ending(JobStatus.CANCELED, CANCELED, without[job_id]))
        return None
    return taken


def renew(session: Session, held: Sequence[Lease], lease: timedelta) -> Renewal:
    """Lengthen leases; say which are lost and which somebody asked to cancel."""
    return leases.renew(session, held, lease)


def succeed(
    session: Session,
    lease: Lease,
    *,
    results: Sequence[NewResult],
    artifacts: Sequence[NewArtifact],
    report: Mapping[str, Any],
) -> None:
    """Record what the job found: all of it in the caller's transaction, or nothing.

    Raises:
        Fenced: the job is no longer ours; discard the work.
    """
    leases.hold(session, lease)
    if results:
        session.execute(insert(Result), [_columns(lease, one) for one in results])
    if artifacts:
        session.execute(insert(Artifact), [_columns(lease, one) for one in artifacts])
    facts = {"results": len(results), "artifacts": {one.name: one.sha256 for one in artifacts}}
    _let_go(session, lease, _Ending(JobStatus.SUCCEEDED, report=report, facts=facts))


def reject(
    session: Session,
    lease: Lease,
    *,
    reason: str,
    detail: str,
    report: Mapping[str, Any] | None = None,
) -> None:
    """Record that the input is refused, and why. No attempt can change that.

    Raises:
        Fenced: the job is no longer ours; discard the work.
    """
    _let_go(session, lease, _Ending(JobStatus.REJECTED, reason, detail, report=report))


def fail(
    session: Session,
    lease: Lease,
    *,
    reason: str,
    detail: str,
    retry: bool,
    report: Mapping[str, Any] | None = None,
) -> JobStatus:
    """Record that this attempt failed; return what became of the job.

    Where ``retry`` allows it and attempts are left, the job waits again, a little longer each
    time. Where somebody asked to cancel it, it is canceled instead.

    Raises:
        Fenced: the job is no longer ours; discard the work.
    """
    held = leases.hold(session, lease)
    if held.cancel_requested:
        ending = _Ending(JobStatus.CANCELED, CANCELED, detail, report=report)
    elif retry and held.attempts_left:
        ending = _Ending(JobStatus.QUEUED, reason, detail, report=report, outcome="retried")
    else:
        ending = _Ending(JobStatus.FAILED, reason, detail, report=report)
    _let_go(session, lease, ending)
    return ending.after


def release(session: Session, lease: Lease) -> None:
    """Give the job back, untried, because the worker stops: it waits again at once.

    Raises:
        Fenced: the job is no longer ours.
    """
    if leases.hold(session, lease).cancel_requested:
        finish_canceled(session, lease)
        return
    _let_go(session, lease, _Ending(JobStatus.QUEUED, outcome="released"))


def finish_canceled(session: Session, lease: Lease) -> None:
    """Record that the worker stopped because somebody asked it to.

    Raises:
        Fenced: the job is no longer ours.
    """
    _let_go(session, lease, _Ending(JobStatus.CANCELED, CANCELED, "Somebody canceled the job."))


def expire(session: Session, *, lane: str) -> int:
    """Take back the jobs whose workers went silent; return how many.

    With attempts left they wait again, a little longer each time; without, they failed.
    """
    silent = leases.lapsed(session, Kind.JOB, lane=lane)
    changes = [_write_lost(session, one) for one in silent]
    at = now(session)
    history.note(session, changes, at)
    history.attest(session, changes, event_id="job.expired")
    return len(changes)


def to_publish(session: Session, *, lane: str, window: int, resend_after: timedelta) -> list[Wake]:
    """Mark and return the wake-ups to send once this transaction is committed."""
    return wakes.jobs_to_publish(session, lane=lane, window=window, resend_after=resend_after)


@dataclass(frozen=True, slots=True)
class _Ending:
    """How the holder of a job lets go of it. ``outcome`` is the attempt's: the status, or why."""

    after: JobStatus
    reason: str | None = None
    detail: str | None = None
    report: Mapping[str, Any] | None = None
    outcome: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def _let_go(session: Session, lease: Lease, ending: _Ending) -> None:
    """Write the job, its attempt, its event and its audit record, if it is still ours."""
    at = now(session)
    leases.write(session, lease, **_columns_after(lease, ending, at))
    outcome = ending.outcome or ending.after.value
    history.end_attempts(
        session, [lease.id], outcome=outcome, at=at, reason=ending.reason, detail=ending.detail
    )
    change = Change(
        job_id=lease.id,
        before=JobStatus.RUNNING,
        after=ending.after,
        attempt=lease.attempt,
        by=lease.owner,
        reason=ending.reason,
        detail=ending.detail,
        facts=ending.facts,
    )
    history.note(session, [change], at)
    if ending.outcome != "released":  # nothing happened to the job; the event says enough
        history.attest(
            session, [change], event_id="job.retried" if ending.outcome == "retried" else None
        )


def _columns_after(lease: Lease, ending: _Ending, at: datetime) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "status": ending.after,
        "reason": ending.reason,
        "detail": ending.detail,
    }
    if ending.report is not None:
        columns["report"] = dict(ending.report)
    if ending.after is not JobStatus.QUEUED:
        return {**columns, **LET_GO, "finished_at": at, "cancel_requested": False}
    if ending.outcome == "released":
        return {**columns, **WAITS_AGAIN, "attempt": lease.attempt - 1}
    return {**columns, **WAITS_AGAIN, "not_before": leases.backoff(lease.attempt, at)}


def _write_lost(session: Session, silent: Lapsed) -> Change:
    """Write one job whose worker went silent, and its attempt."""
    detail = "The worker that held the job went silent."
    if silent.cancel_requested:
        ending = _Ending(JobStatus.CANCELED, CANCELED, detail)
    elif silent.attempts_left:
        ending = _Ending(JobStatus.QUEUED, WORKER_LOST, detail)
    else:
        ending = _Ending(JobStatus.FAILED, WORKER_LOST, detail)
    lease, at = silent.lease, now(session)
    leases.write(session, lease, **_columns_after(lease, ending, at))
    history.end_attempts(
        session, [lease.id], outcome="lost", at=at, reason=WORKER_LOST, detail=detail
    )
    return Change(
        job_id=lease.id,
        before=JobStatus.RUNNING,
        after=ending.after,
        attempt=lease.attempt,
        by=lease.owner,
        reason=ending.reason,
        detail=detail,
    )


def _columns(lease: Lease, new: NewResult | NewArtifact) -> dict[str, Any]:
    return {"job_id": lease.id, **asdict(new)}
