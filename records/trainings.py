"""Trainings: asked for, claimed by one trainer at a time, ended in exactly one status."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from records import audit, leases, wakes
from records.base import TrainingStatus
from records.corrections import UpTo
from records.database import now
from records.leases import Kind, Lease
from records.tables import Training
from records.transitions import NoSuchRecord
from records.wakes import Wake

_QUEUE = "train"
_LOST = "run.worker_lost"
#: how long one waits that the machine had no room for
_PATIENCE = timedelta(seconds=60)


class IdempotencyConflict(ValueError):
    """The idempotency key was used before, for another request."""


@dataclass(frozen=True, kw_only=True)
class NewTraining:
    """A wish for one training."""

    recipe: dict[str, Any] = field(repr=False)
    #: path of the manifest, as the trainer will open it
    manifest: str = field(repr=False)
    #: what of an analysis joins the manifest; None = nothing
    corrections: UpTo | None = None
    schedule_id: uuid.UUID | None = None
    idempotency_key: str | None = None
    lane: str = "shared"
    max_attempts: int = 3


def create(session: Session, new: NewTraining, *, by: str) -> Training:
    """Queue a training. The same idempotency key a second time returns the first row.

    Raises:
        IdempotencyConflict: the key stands for another recipe or manifest.

    """
    joined = {"corrections": asdict(new.corrections)} if new.corrections else {}
    request = _digest({"recipe": new.recipe, "manifest": new.manifest, **joined})
    if new.idempotency_key is not None:
        asked = select(Training).where(Training.idempotency_key == new.idempotency_key)
        known = session.scalars(asked).one_or_none()
        if known is not None:
            if known.request_digest != request:
                raise IdempotencyConflict("the idempotency key was used for another training")
            return known
    row = Training(
        id=uuid.uuid4(),
        status=TrainingStatus.QUEUED,
        recipe=new.recipe,
        recipe_digest=_digest(new.recipe),
        manifest=new.manifest,
        corrections_of=new.corrections and new.corrections.analysis,
        corrections_up_to=new.corrections and new.corrections.number,
        max_attempts=new.max_attempts,
        schedule_id=new.schedule_id,
        idempotency_key=new.idempotency_key,
        request_digest=request,
        created_by=by,
        created_at=now(session),
        lane=new.lane,
    )
    session.add(row)
    session.flush()
    _audit(session, "training.queued", "C", row.id, by, {"recipe_digest": row.recipe_digest})
    return row


def get(session: Session, training_id: uuid.UUID) -> Training:
    """Return one training as the database has it.

    Raises:
        NoSuchRecord: there is none of that id.

    """
    row = session.get(Training, training_id, populate_existing=True)
    if row is None:
        raise NoSuchRecord("training", training_id)
    return row


def ordinal(session: Session, training_id: uuid.UUID) -> int:
    """Return how many trainings of the same model were asked for before this one.

    Trainings are never removed, so the number is this training's alone.
    """
    row = get(session, training_id)
    is_older = (Training.created_at < row.created_at) | (
        (Training.created_at == row.created_at) & (Training.id < row.id)
    )
    is_same = Training.recipe["name"].as_string() == str(row.recipe.get("name"))
    query = select(func.count()).select_from(Training).where(is_same, is_older)
    return session.scalars(query).one()


def claim(
    session: Session, training_id: uuid.UUID, *, owner: str, lease: timedelta
) -> Lease | None:
    """Take a queued training, or one whose trainer went silent. None: nothing to do."""
    taken = leases.claim(session, Kind.TRAINING, training_id, owner=owner, lease=lease)
    if taken is not None:
        leases.write(session, taken, reason=None, detail=None)  # of an earlier attempt
        _audit(session, "training.started", "E", taken.id, owner, {"attempt": taken.attempt})
    return taken


def note_progress(
    session: Session, lease: Lease, progress: dict[str, Any], *, snapshot_digest: str | None = None
) -> None:
    """Keep where the training stands, for those who watch.

    Raises:
        Fenced: the training is no longer ours.

    """
    known = {} if snapshot_digest is None else {"snapshot_digest": snapshot_digest}
    leases.write(session, lease, progress=progress, **known)


def succeed(
    session: Session, lease: Lease, *, metrics: dict[str, Any], snapshot_digest: str, model: str
) -> None:
    """End a training whose product, ``model`` = name@version, was registered in this transaction.

    Raises:
        Fenced: the training is no longer ours: discard the product.

    """
    status = TrainingStatus.SUCCEEDED
    _finish(session, lease, status, metrics=metrics, snapshot_digest=snapshot_digest)
    detail = {"model": model, "snapshot_digest": snapshot_digest}
    _audit(session, "training.succeeded", "U", lease.id, lease.owner, detail)


def reject(session: Session, lease: Lease, *, reason: str, detail: str) -> None:
    """End a training whose recipe, manifest or loss was refused.

    Raises:
        Fenced: the training is no longer ours.

    """
    _finish(session, lease, TrainingStatus.REJECTED, reason=reason, detail=detail)
    _audit_end(session, "training.rejected", lease.id, lease.owner, reason)


def fail(
    session: Session, lease: Lease, *, reason: str, detail: str, retry: bool
) -> TrainingStatus:
    """Give a training back after a fault: queued again with back-off, or failed for good.

    Raises:
        Fenced: the training is no longer ours.

    """
    held = leases.hold(session, lease)
    if held.cancel_requested:
        finish_canceled(session, lease)
        return TrainingStatus.CANCELED
    if retry and held.attempts_left:
        wait = leases.backoff(lease.attempt, now(session))
        return _give_back(session, lease, pauses=held.pause_requested, not_before=wait)
    _finish(session, lease, TrainingStatus.FAILED, reason=reason, detail=detail)
    _audit_end(session, "training.failed", lease.id, lease.owner, reason)
    return TrainingStatus.FAILED


def release(session: Session, lease: Lease) -> None:
    """Give a training back, its attempt uncounted: queued again, or paused where asked for.

    Raises:
        Fenced: the training is no longer ours.

    """
    held = leases.hold(session, lease)
    if held.cancel_requested:
        finish_canceled(session, lease)
        return
    _give_back(session, lease, pauses=held.pause_requested, attempt=lease.attempt - 1)


def postpone(session: Session, lease: Lease, *, reason: str, detail: str) -> None:
    """Give a training back that the machine has no room for now; it says why it waits.

    Raises:
        Fenced: the training is no longer ours.

    """
    held = leases.hold(session, lease)
    if held.cancel_requested:
        finish_canceled(session, lease)
        return
    values = {"reason": reason, "detail": detail, "not_before": now(session) + _PATIENCE}
    _give_back(session, lease, pauses=held.pause_requested, attempt=lease.attempt - 1, **values)
    _audit_end(session, "training.postponed", lease.id, lease.owner, reason)


def finish_canceled(session: Session, lease: Lease) -> None:
    """End a training whose trainer has stopped because it was asked to.

    Raises:
        Fenced: the training is no longer ours.

    """
    _finish(session, lease, TrainingStatus.CANCELED, reason="run.canceled")
    _audit_end(session, "training.canceled", lease.id, lease.owner, "run.canceled")


def expire(session: Session, *, lane: str) -> int:
    """Take back trainings whose trainer went silent. Returns how many.

    They wait again, with back-off, and go on from their checkpoint; the last attempt fails.
    """
    count = 0
    for one in leases.lapsed(session, Kind.TRAINING, lane=lane):
        if one.cancel_requested:
            finish_canceled(session, one.lease)
        elif one.attempts_left:
            wait = leases.backoff(one.lease.attempt, now(session))
            _give_back(session, one.lease, pauses=one.pause_requested, not_before=wait)
            _audit_end(session, "training.lost", one.lease.id, "nightshift", _LOST)
        else:
            sentence = "the trainer went silent and every attempt is used up"
            _finish(session, one.lease, TrainingStatus.FAILED, reason=_LOST, detail=sentence)
            _audit_end(session, "training.failed", one.lease.id, "nightshift", _LOST)
        count += 1
    return count


def to_publish(session: Session, *, lane: str, resend_after: timedelta) -> list[Wake]:
    """Return the wake-ups to send once this transaction is committed, oldest training first.

    One that nobody claimed is sent again after ``resend_after``, then twice that, up to a minute.
    """
    return wakes.to_publish(
        session, Kind.TRAINING, queue=_QUEUE, lane=lane, resend_after=resend_after
    )


def _give_back(session: Session, lease: Lease, *, pauses: bool, **values: Any) -> TrainingStatus:
    status = TrainingStatus.PAUSED if pauses else TrainingStatus.QUEUED
    fresh = {**leases.WAITS_AGAIN, "pause_requested": False}
    leases.write(session, lease, status=status, **fresh, **values)
    if pauses:
        _audit(session, "training.paused", "U", lease.id, lease.owner, {})
    return status


def _finish(session: Session, lease: Lease, status: TrainingStatus, **values: Any) -> None:
    at = now(session)
    leases.write(session, lease, status=status, finished_at=at, **leases.LET_GO, **values)


def _digest(value: object) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _audit_end(session: Session, event: str, row: uuid.UUID, by: str, reason: str) -> None:
    audit.append(
        session,
        event_id=event,
        action="U",
        by=by,
        object_type="training",
        object_id=row,
        outcome=audit.SUCCESS if event == "training.canceled" else audit.MINOR_FAILURE,
        detail={"reason": reason},
    )


def _audit(
    session: Session, event: str, action: str, row: uuid.UUID, by: str, detail: dict[str, Any]
) -> None:
    audit.append(
        session,
        event_id=event,
        action=action,
        by=by,
        object_type="training",
        object_id=row,
        detail=detail,
    )
