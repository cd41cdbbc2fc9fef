"""Schedules: what makes trainings by itself. A slot of a schedule is run at most once.

A cron line has a slot at each of its times. It is read in UTC, so no slot is skipped or doubled
when clocks change; slots that were missed while nothing was running collapse into the latest one.
New cases have a slot when enough corrections have come that no training of the schedule has
learnt from. A drift has one slot, when it was first found, until it has gone.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cronsim import CronSim, CronSimError
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from records import audit, corrections, drifts, trainings
from records.corrections import UpTo
from records.database import now
from records.tables import Schedule, ScheduleRun, Training


class CronInvalid(ValueError):
    """The cron line is not one."""


class TriggerInvalid(ValueError):
    """A schedule has one of cron, new cases and drift, and the analysis that it needs."""


class ScheduleTaken(ValueError):
    """A schedule of that name exists."""


class ScheduleMissing(LookupError):
    """No schedule has that name."""


@dataclass(frozen=True, kw_only=True)
class NewSchedule:
    """A wish for regular trainings."""

    name: str
    recipe: dict[str, Any] = field(repr=False)
    manifest: str = field(repr=False)
    #: five fields: minute, hour, day of month, month, day of week
    cron: str | None = None
    #: train when so many corrections have come
    new_cases: int | None = None
    #: train when a drift was found
    on_drift: bool = False
    #: its corrections join the manifest; new cases and drift are those of it
    analysis: str | None = None


def add(session: Session, new: NewSchedule, *, by: str) -> Schedule:
    """Add a schedule. The first slot of a cron line is the first one after now.

    Raises:
        TriggerInvalid: it has not exactly one trigger, or the analysis is missing.
        CronInvalid: the cron line is not one, or never comes.
        ScheduleTaken: the name is in use.

    """
    at = now(session)
    _check(new)
    if new.cron is not None:
        next_slot(new.cron, at)
    if find(session, new.name) is not None:
        sentence = f"a schedule named {new.name} exists"
        raise ScheduleTaken(sentence)
    row = Schedule(
        id=uuid.uuid4(),
        name=new.name,
        cron=new.cron,
        new_cases=new.new_cases,
        on_drift=new.on_drift,
        analysis=new.analysis,
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
    # one beat at a time looks at a schedule: what another has begun is not begun again
    query = select(Schedule).where(Schedule.enabled).order_by(Schedule.name)
    for row in session.scalars(query.with_for_update(skip_locked=True, key_share=True)).all():
        try:
            slot = _slot_of(session, row, at)
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
    new = trainings.NewTraining(
        recipe=row.recipe,
        manifest=row.manifest,
        corrections=_corrections(session, row),
        schedule_id=row.id,
    )
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


def _check(new: NewSchedule) -> None:
    triggers = [new.cron is not None, new.new_cases is not None, new.on_drift]
    if sum(triggers) != 1:
        message = "a schedule has one of cron, new_cases and on_drift"
        raise TriggerInvalid(message)
    if new.new_cases is not None and new.new_cases < 1:
        message = "new_cases is a number of cases, 1 or more"
        raise TriggerInvalid(message)
    if new.cron is None and new.analysis is None:
        message = "new cases and drift are those of an analysis: name it"
        raise TriggerInvalid(message)


def _slot_of(session: Session, row: Schedule, at: datetime) -> datetime | None:
    """Return the slot that has come, whether or not it was run; None: none has."""
    if row.cron is not None:
        return latest_slot(row.cron, after=row.created_at, until=at)
    if row.on_drift:
        return drifts.began(session, str(row.analysis))
    labelled, _ = corrections.count(
        session, str(row.analysis), model=_model(row), after=_learnt(session, row)
    )
    return at if labelled >= (row.new_cases or 1) else None


def _learnt(session: Session, row: Schedule) -> int:
    """Return the number of the last correction that a training of this schedule had."""
    last = func.max(Training.corrections_up_to)
    query = select(last).where(Training.schedule_id == row.id)
    return session.scalar(query) or 0


def _corrections(session: Session, row: Schedule) -> UpTo | None:
    """Return what joins the manifest of a training that begins now."""
    if row.analysis is None:
        return None
    _, last = corrections.count(session, row.analysis, model=_model(row))
    return UpTo(analysis=row.analysis, number=last)


def _model(row: Schedule) -> str:
    return str(row.recipe.get("name"))


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
        corrections=_corrections(session, row),
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
        detail={
            "name": row.name,
            "cron": row.cron,
            "new_cases": row.new_cases,
            "on_drift": row.on_drift,
        },
    )
