"""Schedules: cron lines that make trainings. A slot of a schedule is run at most once.

Cron is read in UTC, so no slot is skipped or doubled when clocks change. Slots that were missed
while nothing was running collapse into the latest one.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cronsim import CronSim, CronSimError
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from records import audit, trainings
from records.database import now
from records.tables import Schedule, ScheduleRun, Training


class CronInvalid(ValueError):
    """The cron line is not one."""


class ScheduleTaken(ValueError):
    """A schedule of that name exists."""


class ScheduleMissing(LookupError):
    """No schedule has that name."""


@dataclass(frozen=True, kw_only=True)
class NewSchedule:
    """A wish for regular trainings."""

    name: str
    #: five fields: minute, hour, day of month, month, day of week
    cron: str
    recipe: dict[str, Any] = field(repr=False)
    manifest: str = field(repr=False)


def add(session: Session, new: NewSchedule, *, by: str) -> Schedule:
    """Add a schedule. Its first slot is the first one after now.

    Raises:
        CronInvalid: the cron line is not one, or never comes.
        ScheduleTaken: the name is in use.

    """
    at = now(session)
    next_slot(new.cron, at)
    if find(session, new.name) is not None:
        sentence = f"a schedule named {new.name} exists"
        raise ScheduleTaken(sentence)
    row = Schedule(
        id=uuid.uuid4(),
        name=new.name,
        cron=new.cron,
        recipe=new.recipe,
        manifest=new.manifest,
        enabled=True,
        created_by=by,
        created_at=at,
    )
    session.add(row)
    session.flush()
    _audit(session, "schedule.added", "C", row, by)
    return row


def find(session: Session, name: str) -> Schedule | None:
    """Return the schedule of that name, or None."""
    return session.scalars(select(Schedule).where(Schedule.name == name)).one_or_none()


def get(session: Session, name: str) -> Schedule:
    """Return the schedule of that name.

    Raises:
        ScheduleMissing: there is none.

    """
    row = find(session, name)
    if row is None:
        sentence = f"there is no schedule named {name}"
        raise ScheduleMissing(sentence)
    return row


def every(session: Session) -> Sequence[Schedule]:
    """Return all schedules by name."""
    return session.scalars(select(Schedule).order_by(Schedule.name)).all()


def remove(session: Session, name: str, *, by: str) -> None:
    """Remove a schedule. The trainings it made stay, and say who made them.

    Raises:
        ScheduleMissing: there is none of that name.

    """
    row = get(session, name)
    _audit(session, "schedule.removed", "D", row, by)
    made = update(Training).where(Training.schedule_id == row.id).values(schedule_id=None)
    session.execute(made.execution_options(synchronize_session="fetch"))
    session.execute(delete(ScheduleRun).where(ScheduleRun.schedule_id == row.id))
    session.delete(row)
    session.flush()


def due(session: Session, at: datetime | None = None) -> list[uuid.UUID]:
    """Make one training for every schedule whose latest slot has not run. Returns their ids.

    ``at`` (default: the clock of the database) is aware. Any number of callers may ask at once:
    the primary key of ``schedule_runs`` lets one of them have the slot.
    """
    at = now(session) if at is None else at
    made: list[uuid.UUID] = []
    rows = session.scalars(select(Schedule).where(Schedule.enabled).order_by(Schedule.name))
    for row in rows.all():
        try:
            slot = latest_slot(row.cron, after=row.created_at, until=at)
        except CronInvalid:  # one line that is read otherwise than when it was added
            row.enabled = False
            _audit(session, "schedule.disabled", "U", row, "nightshift")
            continue
        if slot is not None and _take(session, row.id, slot):
            made.append(_train(session, row, slot))
    return made


def run(session: Session, name: str, *, by: str) -> Training:
    """Make a training of this schedule now, beside its slots.

    Raises:
        ScheduleMissing: there is none of that name.

    """
    row = get(session, name)
    new = trainings.NewTraining(recipe=row.recipe, manifest=row.manifest, schedule_id=row.id)
    return trainings.create(session, new, by=by)


def next_slot(cron: str, after: datetime) -> datetime:
    """Return the first slot after ``after``, UTC.

    Raises:
        CronInvalid: the line is not cron, or never comes (31 February).

    """
    return _slot(cron, after, is_reverse=False)


def latest_slot(cron: str, *, after: datetime, until: datetime) -> datetime | None:
    """Return the last slot in (after, until], UTC, or None where there is none."""
    # CronSim starts strictly before the given minute when it runs backwards
    start = _next_minute(until.astimezone(UTC))
    slot = _slot(cron, start, is_reverse=True)
    return slot if after < slot <= until else None


def _slot(cron: str, start: datetime, *, is_reverse: bool) -> datetime:
    sentence = f"{cron!r} is not a cron line of five fields that ever comes"
    if len(cron.split()) != 5:  # cronsim would read a sixth field as seconds
        raise CronInvalid(sentence)
    try:
        slot: datetime = next(CronSim(cron, start.astimezone(UTC), reverse=is_reverse))
    except (CronSimError, StopIteration) as error:
        raise CronInvalid(sentence) from error
    return slot


def _next_minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0) + timedelta(minutes=1)


def _take(session: Session, schedule_id: uuid.UUID, slot: datetime) -> bool:
    """Write the row of a slot; False where somebody has it."""
    if session.get(ScheduleRun, (schedule_id, slot)) is not None:
        return False
    try:
        with session.begin_nested():
            session.add(ScheduleRun(schedule_id=schedule_id, slot=slot))
    except IntegrityError:  # another beat was a moment earlier
        return False
    return True


def _train(session: Session, row: Schedule, slot: datetime) -> uuid.UUID:
    new = trainings.NewTraining(
        recipe=row.recipe,
        manifest=row.manifest,
        schedule_id=row.id,
        idempotency_key=f"schedule {row.id} {slot.isoformat()}",
    )
    training = trainings.create(session, new, by=f"schedule {row.name}")
    session.get_one(ScheduleRun, (row.id, slot)).training_id = training.id
    session.flush()
    return training.id


def _audit(session: Session, event: str, action: str, row: Schedule, by: str) -> None:
    audit.append(
        session,
        event_id=event,
        action=action,
        by=by,
        object_type="schedule",
        object_id=str(row.id),
        detail={"name": row.name, "cron": row.cron},
    )
