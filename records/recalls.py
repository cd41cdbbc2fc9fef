"""Taking back a model version with everything it said, and what becomes of its jobs."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from records import audit, bindings, models, requests
from records.base import JobStatus, Stage, Withdrawal
from records.models import StageRefused
from records.tables import Job, JobModel, ModelVersion


@dataclass(frozen=True, kw_only=True)
class Recalled:
    """Which version is active after a recall, and what became of the jobs that had not ended."""

    active: str | None
    #: jobs that waited, and wait for the active version now
    rebound: int
    #: jobs that waited, and are canceled because no version is active
    canceled: int
    #: jobs that run with it still: what they find is recalled, and a rerun after their end has them
    running: int


def recall(session: Session, name: str, version: str, *, by: str, why: str) -> Recalled:
    """Take back a version and everything it ever said; it cannot become active again.

    Where it is active, the version before it is active again, unless that was withdrawn too. No
    job that waits runs it any more.

    Raises:
        ModelVersionMissing: it is not registered.
        StageRefused: it is recalled already.

    """
    models.lock_active(session, name)
    row = models.get(session, name, version)
    if row.withdrawn is Withdrawal.RECALLED:
        sentence = f"{name} {version} is recalled already"
        raise StageRefused(sentence)
    is_replaced = _withdraw(session, row)
    active = models.active(session, name)
    rebound, canceled = _settle_waiting(session, row, active, by)
    recalled = Recalled(
        active=None if active is None else active.version,
        rebound=rebound,
        canceled=canceled,
        running=_count_running(session, row),
    )
    # as ever, the record names the version that came back, not one that was active all the time
    said = asdict(recalled) | {"why": why, "active": recalled.active if is_replaced else None}
    audit.append(
        session,
        event_id="model.recalled",
        action="U",
        by=by,
        object_type="model_version",
        object_id=f"{name}@{version}",
        detail=said,
    )
    return recalled


def _withdraw(session: Session, row: ModelVersion) -> bool:
    """Mark the version as recalled; say whether the one before it is active again."""
    before = session.get(ModelVersion, row.previous_id) if row.previous_id else None
    was_active = row.stage is Stage.ACTIVE
    row.withdrawn, row.is_shadow, row.stage = Withdrawal.RECALLED, False, Stage.RETIRED
    session.flush()  # the index allows one active at any time
    if not was_active or before is None or before.withdrawn is not None:
        return False
    before.stage = Stage.ACTIVE
    session.flush()
    return True


def _settle_waiting(
    session: Session, row: ModelVersion, active: ModelVersion | None, by: str
) -> tuple[int, int]:
    """Bind what waits to the active version, or cancel it; return how many of each."""
    waiting = _is_bound(row) & (Job.status == JobStatus.QUEUED)
    if active is None:
        detail = bindings.without_any(row.name, row.version)
        return 0, requests.cancel_jobs(session, waiting, by=by, detail=detail)
    query = select(Job.id).where(waiting).order_by(Job.id).with_for_update(key_share=True)
    ids = session.scalars(query).all()
    bindings.rebind(session, ids, by=by)
    return len(ids), 0


def _count_running(session: Session, row: ModelVersion) -> int:
    running = _is_bound(row) & (Job.status == JobStatus.RUNNING)
    return session.scalar(select(func.count()).select_from(Job).where(running)) or 0


def _is_bound(row: ModelVersion) -> ColumnElement[bool]:
    bound = select(JobModel.job_id).where(JobModel.model_version_id == row.id)
    return Job.id.in_(bound)
