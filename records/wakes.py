"""Wake-ups: which rows the workers should be told of now.

The rows are the queue; a wake-up in the broker only says "look". So it may be lost (it is sent
again, ever more rarely), come twice (the second claim finds nothing) or come late. Only a window
of wake-ups is outstanding per queue: an urgent row never waits behind thousands in the broker.
Callers commit first and send afterwards.
"""

from __future__ import annotations

import random
import uuid
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session

from records.database import now
from records.leases import RULES, Kind
from records.tables import Job

_RESEND_CAP: Final = timedelta(seconds=60)
_DISPATCH_LOCKS: Final = 0x4E53  # the class of the advisory locks, one per lane


@dataclass(frozen=True, slots=True)
class Wake:
    """A wake-up to send: the id of a row and the queue that its workers listen to."""

    id: uuid.UUID
    queue: str


def jobs_to_publish(
    session: Session, *, lane: str, window: int, resend_after: timedelta
) -> list[Wake]:
    """Mark and return the jobs to announce: at most ``window`` outstanding per queue.

    A wake-up that was not followed by a claim is sent again after ``resend_after``, then twice
    as long, up to 60 s, spread by a quarter. Empty where another dispatcher is at it.
    """
    if not _may_dispatch(session, lane):
        return []
    at = now(session)
    waiting = _waiting(Kind.JOB, lane)
    outstanding = session.execute(
        select(Job.id, Job.queue, Job.published_at, Job.publish_count).where(
            waiting, Job.published_at.is_not(None)
        )
    ).all()
    wakes = [Wake(row.id, row.queue) for row in outstanding if _is_overdue(row, at, resend_after)]
    used = Counter(row.queue for row in outstanding)
    for queue in _queues_with_unsent_jobs(session, waiting):
        if (room := window - used[queue]) > 0:
            wakes += _unsent_jobs(session, waiting, queue, at, room)
    return _mark(session, Kind.JOB, wakes, at)


def to_publish(
    session: Session, kind: Kind, *, queue: str, lane: str, resend_after: timedelta
) -> list[Wake]:
    """Mark and return the scans or trainings to announce. They are few: there is no window."""
    if not _may_dispatch(session, lane):
        return []
    table, at = RULES[kind].table, now(session)
    rows = session.execute(
        select(table.id, table.published_at, table.publish_count)
        .where(
            _waiting(kind, lane),
            table.cancel_requested.is_(False),
            or_(table.not_before.is_(None), table.not_before <= at),
        )
        .order_by(table.created_at)
    ).all()
    wakes = [Wake(row.id, queue) for row in rows if _is_overdue(row, at, resend_after)]
    return _mark(session, kind, wakes, at)


def has_announced_jobs(session: Session, *, lane: str) -> bool:
    """Say whether jobs wait that could start and were announced: a silent worker has stalled."""
    could_start = or_(Job.not_before.is_(None), Job.not_before <= now(session))
    announced = and_(_waiting(Kind.JOB, lane), Job.published_at.is_not(None), could_start)
    return bool(session.scalar(select(select(Job.id).where(announced).exists())))


def _waiting(kind: Kind, lane: str) -> ColumnElement[bool]:
    rule = RULES[kind]
    waiting = and_(rule.table.lane == lane, rule.table.status == rule.waits)
    return waiting if kind is Kind.JOB else and_(waiting, rule.table.owner.is_(None))


def _may_dispatch(session: Session, lane: str) -> bool:
    """Let one dispatcher at a time into a lane. SQLite has one writer anyway."""
    if session.get_bind().dialect.name != "postgresql":
        return True
    lane_key = zlib.crc32(lane.encode()) - 2**31  # a signed 32-bit number
    lock = func.pg_try_advisory_xact_lock(_DISPATCH_LOCKS, lane_key)
    return bool(session.execute(select(lock)).scalar_one())


def _queues_with_unsent_jobs(session: Session, waiting: ColumnElement[bool]) -> Iterator[str]:
    """Yield each queue once by leaping along ``ix_jobs_wake``, not by reading every job."""
    queue = ""
    while True:
        # Ordering by the constant published_at too lets PostgreSQL take the index's own order.
        found = session.scalar(
            select(Job.queue)
            .where(waiting, Job.published_at.is_(None), Job.queue > queue)
            .order_by(Job.published_at, Job.queue)
            .limit(1)
        )
        if found is None:
            return
        queue = found
        yield queue


def _unsent_jobs(
    session: Session, waiting: ColumnElement[bool], queue: str, at: datetime, room: int
) -> list[Wake]:
    rows = session.scalars(
        select(Job.id)
        .where(
            waiting,
            Job.published_at.is_(None),
            Job.queue == queue,
            or_(Job.not_before.is_(None), Job.not_before <= at),
        )
        .order_by(Job.published_at, Job.queue, Job.created_at)
        .limit(room)
    )
    return [Wake(row, queue) for row in rows]


def _is_overdue(sent: Any, at: datetime, resend_after: timedelta) -> bool:
    """Say whether a wake-up is unsent, or was sent too long ago."""
    if sent.published_at is None:
        return True
    doublings = min(max(sent.publish_count - 1, 0), 16)
    wait = min(resend_after * 2.0**doublings, max(_RESEND_CAP, resend_after))
    spread = random.Random(f"{sent.id}:{sent.publish_count}").uniform(0.75, 1.25)  # noqa: S311 - a spread
    overdue: bool = sent.published_at + wait * spread <= at
    return overdue


def _mark(session: Session, kind: Kind, wakes: Sequence[Wake], at: datetime) -> list[Wake]:
    """Write down that ``wakes`` are sent; return those whose row still waits and is free.

    A row that another transaction is writing is passed over: waiting for it could deadlock.
    """
    if not wakes:
        return []
    rule = RULES[kind]
    ours = (rule.table.id.in_([wake.id for wake in wakes]), rule.table.status == rule.waits)
    free = set(
        session.scalars(
            select(rule.table.id).where(*ours).with_for_update(skip_locked=True, key_share=True)
        )
    )
    session.execute(
        update(rule.table)
        .where(rule.table.id.in_(free), rule.table.status == rule.waits)
        .values(published_at=at, publish_count=rule.table.publish_count + 1)
        .execution_options(synchronize_session=False)
    )
    return [wake for wake in wakes if wake.id in free]
