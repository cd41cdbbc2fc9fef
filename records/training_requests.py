"""What people ask of a training: to cancel it, to pause it, to resume it.

One that is paused keeps its checkpoint and holds no device; any trainer goes on with it.
"""

from __future__ import annotations

import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from records import audit, leases
from records.base import TrainingStatus
from records.database import now
from records.tables import Training
from records.transitions import IllegalTransition, NoSuchRecord, is_legal


def cancel(session: Session, training_id: uuid.UUID, *, by: str) -> TrainingStatus:
    """End a waiting or paused training at once; ask the trainer of a running one to stop.

    One whose trainer went silent ends at once too: nobody may be left to hear of it.

    Raises:
        NoSuchRecord: there is none of that id.
        IllegalTransition: it has ended already.

    """
    row = _locked(session, training_id)
    if not is_legal(row.status, TrainingStatus.CANCELED):
        raise IllegalTransition("training", row.id, row.status, TrainingStatus.CANCELED)
    row.cancel_requested = True
    at = now(session)
    is_silent = row.lease_until is not None and row.lease_until < at
    if row.status != TrainingStatus.RUNNING or is_silent:
        row.status, row.finished_at = TrainingStatus.CANCELED, at
        row.owner = row.lease_until = None
    _audit(session, "training.cancel_requested", row, by)
    return row.status


def pause(session: Session, training_id: uuid.UUID, *, by: str) -> TrainingStatus:
    """Pause a queued training at once; ask the trainer of a running one to let go of it.

    Raises:
        NoSuchRecord: there is none of that id.
        IllegalTransition: it is paused or has ended already.

    """
    row = _locked(session, training_id)
    if not is_legal(row.status, TrainingStatus.PAUSED):
        raise IllegalTransition("training", row.id, row.status, TrainingStatus.PAUSED)
    if row.status == TrainingStatus.QUEUED:
        row.status = TrainingStatus.PAUSED
    else:
        row.pause_requested = True
    _audit(session, "training.pause_requested", row, by)
    return row.status


def resume(session: Session, training_id: uuid.UUID, *, by: str) -> TrainingStatus:
    """Queue a paused training again, for any trainer; take back a pause that is only asked for.

    Raises:
        NoSuchRecord: there is none of that id.
        IllegalTransition: it is neither paused nor about to be.

    """
    row = _locked(session, training_id)
    is_to_pause = row.status == TrainingStatus.RUNNING and row.pause_requested
    if not (row.status == TrainingStatus.PAUSED or is_to_pause):
        raise IllegalTransition("training", row.id, row.status, TrainingStatus.QUEUED)
    row.pause_requested = False
    if row.status == TrainingStatus.PAUSED:
        row.status, row.not_before = TrainingStatus.QUEUED, None
        for column, value in leases.WAITS_AGAIN.items():
            setattr(row, column, value)
    _audit(session, "training.resumed", row, by)
    return row.status


def _locked(session: Session, training_id: uuid.UUID) -> Training:
    query = select(Training).where(Training.id == training_id).with_for_update()
    row = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if row is None:
        raise NoSuchRecord("training", training_id)
    return row


def _audit(session: Session, event: str, row: Training, by: str) -> None:
    audit.append(
        session,
        event_id=event,
        action="U",
        by=by,
        object_type="training",
        object_id=row.id,
        detail={"status": row.status.value},
    )
