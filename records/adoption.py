"""Trainings that a command began with services of its own and did not see to the end.

Each such command has a lane, and nobody wakes the rows of a lane that is gone. The next command
that asks for the same training moves the row into its own lane, and goes on from its checkpoint.
"""

from __future__ import annotations

import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from records import audit
from records.base import TrainingStatus
from records.tables import Training
from records.trainings import NewTraining

SHARED = "shared"


def cut_off_training(session: Session, wish: NewTraining) -> Training | None:
    """Return the newest unfinished training of the same recipe and manifest outside ``shared``."""
    query = (
        select(Training)
        .where(
            Training.status.in_((TrainingStatus.QUEUED, TrainingStatus.RUNNING)),
            Training.lane != SHARED,
            Training.manifest == wish.manifest,
            Training.cancel_requested.is_(False),
        )
        .order_by(Training.created_at.desc())
    )
    same = (row for row in session.scalars(query) if row.recipe == wish.recipe)
    return next(same, None)


def adopt_training(session: Session, training_id: uuid.UUID, *, lane: str, by: str) -> None:
    """Move a training into ``lane``, to be announced there at once.

    A lease that its old trainer still holds runs out first: two never train the same row.
    """
    row = session.get_one(Training, training_id)
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
