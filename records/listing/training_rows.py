"""Trainings and schedules as readers see them."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from records.base import TrainingStatus
from records.database import now
from records.listing.paging import AnyRow, Order, Page, Window, page
from records.tables import ModelVersion, Schedule, ScheduleRun, Training

TRAININGS: Final = Order(listing="trainings", columns=(Training.created_at, Training.id))
SCHEDULES: Final = Order(listing="schedules", columns=(Schedule.name,), newest_first=False)
#: ids in one statement
_AT_ONCE: Final = 500


@dataclass(frozen=True, kw_only=True)
class TrainingSummary:
    """One training in a list. ``model_version`` is its product, once it has one."""

    id: uuid.UUID
    status: TrainingStatus
    recipe_digest: str
    manifest: str
    snapshot_digest: str | None
    attempt: int
    max_attempts: int
    cancel_requested: bool
    pause_requested: bool
    schedule_id: uuid.UUID | None
    model: str | None
    model_version: str | None
    created_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    progress: dict[str, Any]
    metrics: dict[str, Any]
    reason: str | None
    detail: str | None


@dataclass(frozen=True, kw_only=True)
class TrainingDetail(TrainingSummary):
    """One training with its recipe."""

    recipe: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ScheduleRow:
    """One schedule and the last slot that ran."""

    id: uuid.UUID
    name: str
    cron: str | None
    new_cases: int | None
    on_drift: bool
    analysis: str | None
    recipe: dict[str, Any]
    manifest: str
    enabled: bool
    created_by: str
    created_at: datetime
    last_slot: datetime | None


def trainings(
    session: Session,
    *,
    status: TrainingStatus | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[TrainingSummary]:
    """Return one page of trainings, newest first."""
    query = select(Training)
    if status is not None:
        query = query.where(Training.status == status)

    def make(rows: Sequence[AnyRow]) -> list[TrainingSummary]:
        found = [row[0] for row in rows]
        products = _products(session, [row.id for row in found])
        return [
            TrainingSummary(**_training(row, products) | {"progress": _briefly(row.progress)})
            for row in found
        ]

    return page(session, query, TRAININGS, Window(limit=limit, cursor=cursor), make)


def training(session: Session, training_id: uuid.UUID) -> TrainingDetail | None:
    """Return one training, or None."""
    row = session.get(Training, training_id)
    if row is None:
        return None
    return TrainingDetail(**_training(row, _products(session, [row.id])), recipe=row.recipe)


def ended_trainings(
    session: Session, ids: Collection[uuid.UUID], *, ago: timedelta
) -> set[uuid.UUID]:
    """Return which of these trainings ended longer than ``ago`` ago."""
    named, before = list(ids), now(session) - ago
    ended: set[uuid.UUID] = set()
    for start in range(0, len(named), _AT_ONCE):
        query = select(Training.id).where(
            Training.id.in_(named[start : start + _AT_ONCE]), Training.finished_at < before
        )
        ended.update(session.scalars(query))
    return ended


def schedules(session: Session, *, limit: int = 50, cursor: str | None = None) -> Page[ScheduleRow]:
    """Return one page of schedules, by name."""
    last = (
        select(func.max(ScheduleRun.slot))
        .where(ScheduleRun.schedule_id == Schedule.id)
        .scalar_subquery()
    )

    def make(rows: Sequence[AnyRow]) -> list[ScheduleRow]:
        return [schedule_row(row[0], row[1]) for row in rows]

    window = Window(limit=limit, cursor=cursor)
    return page(session, select(Schedule, last), SCHEDULES, window, make)


def _products(session: Session, ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, ModelVersion]:
    rows = session.scalars(select(ModelVersion).where(ModelVersion.training_id.in_(ids)))
    return {row.training_id: row for row in rows if row.training_id is not None}


def _training(row: Training, products: dict[uuid.UUID, ModelVersion]) -> dict[str, Any]:
    product = products.get(row.id)
    return {
        "id": row.id,
        "status": row.status,
        "recipe_digest": row.recipe_digest,
        "manifest": row.manifest,
        "snapshot_digest": row.snapshot_digest,
        "attempt": row.attempt,
        "max_attempts": row.max_attempts,
        "cancel_requested": row.cancel_requested,
        "pause_requested": row.pause_requested,
        "schedule_id": row.schedule_id,
        "model": None if product is None else product.name,
        "model_version": None if product is None else product.version,
        "created_by": row.created_by,
        "created_at": row.created_at,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
        "progress": row.progress,
        "metrics": row.metrics,
        "reason": row.reason,
        "detail": row.detail,
    }


def _briefly(progress: Mapping[str, Any]) -> dict[str, Any]:
    """Return where a training stands, without its course: a list has room for no curves."""
    return {name: value for name, value in progress.items() if name != "curve"}


def schedule_row(row: Schedule, last_slot: datetime | None = None) -> ScheduleRow:
    """Return a schedule as it is shown."""
    return ScheduleRow(
        id=row.id,
        name=row.name,
        cron=row.cron,
        new_cases=row.new_cases,
        on_drift=row.on_drift,
        analysis=row.analysis,
        recipe=row.recipe,
        manifest=row.manifest,
        enabled=row.enabled,
        created_by=row.created_by,
        created_at=row.created_at,
        last_slot=last_slot,
    )
