"""Trainings and batches that a command began with services of its own and did not see to the end.

Each such command has a lane, and nobody wakes the rows of a lane that is gone. The next command
that asks for the same training moves the row into its own lane, or into that of the running
services, and it goes on from its checkpoint. A batch comes to the running services where they are
asked to try it, or one of its jobs, again.
"""

from __future__ import annotations

import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from records import audit, batches, requests, training_requests
from records.base import TrainingStatus
from records.batches import Retried
from records.tables import Batch, Job, Training
from records.trainings import NewTraining

SHARED = "shared"
_UNFINISHED = (TrainingStatus.QUEUED, TrainingStatus.RUNNING, TrainingStatus.PAUSED)


def cut_off_training(session: Session, wish: NewTraining) -> Training | None:
    """Return the newest unfinished training of the same recipe and manifest outside ``shared``.

    A wish with an idempotency key is for the training of that key alone. The row stays locked, so
    that it is still unfinished when it is adopted.
    """
    query = (
        select(Training)
        .where(
            Training.status.in_(_UNFINISHED),
            Training.lane != SHARED,
            Training.manifest == wish.manifest,
            Training.cancel_requested.is_(False),
        )
        .order_by(Training.created_at.desc())
        .with_for_update()
    )
    if wish.idempotency_key is not None:
        query = query.where(Training.idempotency_key == wish.idempotency_key)
    same = (row for row in session.scalars(query) if row.recipe == wish.recipe)
    return next(same, None)


def adopt_training(session: Session, training_id: uuid.UUID, *, lane: str, by: str) -> None:
    """Move a training into ``lane``, to be announced there at once; a paused one goes on.

    A lease that its old trainer still holds runs out first: two never train the same row.
    """
    row = session.get_one(Training, training_id)
    if row.status == TrainingStatus.PAUSED or row.pause_requested:
        training_requests.resume(session, training_id, by=by)
    before, row.lane = row.lane, lane
    row.published_at, row.publish_count = None, 0
    audit.append(
        session,
        event_id="training.adopted",
        action="U",
        by=by,
        object_type="training",
        object_id=training_id,
        detail={"from": before, "to": lane},
    )


def resume_shared(session: Session, training_id: uuid.UUID, *, by: str) -> TrainingStatus:
    """Queue a paused training again for the services that run, whichever command began it.

    Raises:
        NoSuchRecord: there is none of that id.
        IllegalTransition: it is not paused.

    """
    status = training_requests.resume(session, training_id, by=by)
    if session.get_one(Training, training_id).lane != SHARED:
        adopt_training(session, training_id, lane=SHARED, by=by)
    return status


def retry_shared(
    session: Session, batch_id: uuid.UUID, *, by: str, cause: str | None = None
) -> Retried:
    """Let a batch be tried again by the services that run, whichever command began it.

    Raises:
        NoSuchRecord: there is none of that id.

    """
    _bring_batch(session, batch_id, by=by)
    return batches.retry(session, batch_id, by=by, cause=cause)


def retry_job_shared(session: Session, job_id: uuid.UUID, *, by: str) -> None:
    """Let a job be tried again by the services that run; the rest of its batch comes with it.

    Raises:
        NoSuchRecord: there is none of that id.
        IllegalTransition: it waits, runs, or succeeded.

    """
    batch_id = session.scalar(select(Job.batch_id).where(Job.id == job_id))
    if batch_id is not None:
        _bring_batch(session, batch_id, by=by)
    requests.retry(session, job_id, by=by)


def _bring_batch(session: Session, batch_id: uuid.UUID, *, by: str) -> None:
    """Move a batch into the shared lane, before its retry: the audit is locked after the jobs."""
    lane = session.scalar(select(Batch.lane).where(Batch.id == batch_id))
    if lane not in {None, SHARED}:
        batches.adopt(session, batch_id, lane=SHARED, by=by)
