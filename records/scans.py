"""Scans: a batch is held under a lease while its source is scanned and its jobs are planned."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from records import audit, leases, requests, wakes
from records.base import BatchStatus
from records.database import now
from records.leases import LET_GO, WAITS_AGAIN, Kind, Lease, Renewal
from records.tables import Job
from records.wakes import Wake

SCAN_QUEUE: Final = "scan"
WORKER_LOST: Final = "run.worker_lost"
UPKEEP: Final = "nightshift"  # who does what nobody asked for, because its time has come


def claim_scan(
    session: Session, batch_id: uuid.UUID, *, owner: str, lease: timedelta
) -> Lease | None:
    """Take a batch that waits to be scanned, or whose scanner was lost. None: nothing to do."""
    return leases.claim(session, Kind.BATCH, batch_id, owner=owner, lease=lease)


def renew(session: Session, held: Sequence[Lease], lease: timedelta) -> Renewal:
    """Lengthen leases of scans. A batch that somebody canceled counts as lost."""
    return leases.renew(session, held, lease)


def note_progress(session: Session, lease: Lease, progress: Mapping[str, Any]) -> None:
    """Keep how far the scan is, for those who watch.

    Raises:
        Fenced: the scan is no longer ours, or somebody canceled the batch.
    """
    leases.write(session, lease, progress=dict(progress))


def finish_plan(session: Session, lease: Lease) -> None:
    """Record that every study has its jobs: from here the batch waits for them only.

    Raises:
        Fenced: the scan is no longer ours, or somebody canceled the batch.
    """
    at = now(session)
    leases.write(session, lease, status=BatchStatus.RUNNING, planned_at=at, **LET_GO)
    planned = select(func.count()).select_from(Job).where(Job.batch_id == lease.id)
    facts = {"jobs": session.scalar(planned)}
    attest(session, "batch.planned", "U", lease.id, lease.owner, facts)


def release_scan(session: Session, lease: Lease) -> None:
    """Give the scan back, untried, because the worker stops.

    Raises:
        Fenced: the scan is no longer ours.
    """
    leases.write(session, lease, attempt=lease.attempt - 1, **WAITS_AGAIN)


def fail_scan(
    session: Session, lease: Lease, *, reason: str, detail: str, retry: bool = False
) -> BatchStatus:
    """Record that the source could not be scanned; return what became of the batch.

    Where ``retry`` allows it and attempts are left, it waits again. Otherwise it failed, and so
    that nothing runs on half a source, its jobs are canceled.

    Raises:
        Fenced: the scan is no longer ours, or somebody canceled the batch.
    """
    held = leases.hold(session, lease)
    if retry and held.attempts_left:
        _wait_again(session, lease)
        return BatchStatus.SCANNING
    _fail(session, [lease], reason=reason, detail=detail)
    return BatchStatus.FAILED


def expire_scans(session: Session, *, lane: str) -> int:
    """Take back the scans whose workers went silent; return how many."""
    silent = leases.lapsed(session, Kind.BATCH, lane=lane)
    for one in silent:
        if one.attempts_left:
            _wait_again(session, one.lease)
    lost = [one for one in silent if not one.attempts_left]
    detail = "The worker that scanned the source went silent, too often."
    _fail(session, [one.lease for one in lost], reason=WORKER_LOST, detail=detail)
    return len(silent)


def scans_to_publish(session: Session, *, lane: str, resend_after: timedelta) -> list[Wake]:
    """Mark and return the wake-ups of scans to send once this transaction is committed."""
    return wakes.to_publish(
        session, Kind.BATCH, queue=SCAN_QUEUE, lane=lane, resend_after=resend_after
    )


def _wait_again(session: Session, lease: Lease) -> None:
    not_before = leases.backoff(lease.attempt, now(session))
    leases.write(session, lease, **WAITS_AGAIN, not_before=not_before)


def _fail(session: Session, held: Sequence[Lease], *, reason: str, detail: str) -> None:
    """Write batches as failed, cancel their jobs; the audit of all of it comes last."""
    if not held:
        return
    at = now(session)
    for lease in held:
        leases.write(
            session,
            lease,
            status=BatchStatus.FAILED,
            reason=reason,
            detail=detail,
            finished_at=at,
            **LET_GO,
        )
    theirs = Job.batch_id.in_([lease.id for lease in held])
    requests.cancel_jobs(session, theirs, by=UPKEEP, detail="The scan of the batch failed.")
    for lease in held:
        attest(session, "batch.failed", "U", lease.id, lease.owner, {"reason": reason})


def attest(
    session: Session,
    event_id: str,
    action: str,
    batch_id: uuid.UUID,
    by: str,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Append to the audit what became of a batch."""
    failed = event_id == "batch.failed"
    audit.append(
        session,
        event_id=event_id,
        action=action,
        by=by,
        object_type="batch",
        object_id=batch_id,
        outcome=audit.SERIOUS_FAILURE if failed else audit.SUCCESS,
        detail=detail,
    )
