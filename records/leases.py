"""Leases: which worker holds a batch, job or training, until when, under which fencing token.

A claim is one conditional UPDATE. Every claim makes a greater token; whoever writes under an old
token, or under a lease that was given to somebody else, is fenced off and must discard its work.
A lease that ran out but was not taken is still its holder's. All times are the database's.
"""

from __future__ import annotations

import enum
import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, false, func, literal, or_, select, update
from sqlalchemy.orm import Session

from records.base import BatchStatus, JobStatus, TrainingStatus
from records.database import now
from records.tables import Batch, Job, Training

SCAN_ATTEMPTS: Final = 3
_BACKOFF_BASE = timedelta(seconds=2)
_BACKOFF_CAP = timedelta(seconds=60)


class Kind(enum.StrEnum):
    """The tables whose rows one worker at a time may hold."""

    BATCH = "batch"
    JOB = "job"
    TRAINING = "training"


@dataclass(frozen=True, slots=True)
class Lease:
    """One worker's hold on one row. ``attempt`` counts from 1; ``token`` never repeats."""

    kind: Kind
    id: uuid.UUID
    token: int
    attempt: int
    owner: str


@dataclass(frozen=True, slots=True)
class Renewal:
    """Which of the renewed rows are no longer ours, and which are to be canceled or paused."""

    lost: frozenset[uuid.UUID]
    cancel: frozenset[uuid.UUID]
    pause: frozenset[uuid.UUID]


@dataclass(frozen=True, slots=True)
class Held:
    """What the holder must know before it lets go."""

    cancel_requested: bool
    pause_requested: bool
    attempts_left: bool


class Fenced(Exception):
    """The row is no longer ours to write: discard the work."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(f"{lease.kind} {lease.id} is no longer held under token {lease.token}")
        self.lease = lease


@dataclass(frozen=True, slots=True)
class Rule:
    """How a kind of row waits and is held. A batch is held without a change of status."""

    table: type[Batch | Job | Training]
    waits: enum.StrEnum
    held: enum.StrEnum


RULES: Final[Mapping[Kind, Rule]] = {
    Kind.BATCH: Rule(Batch, BatchStatus.SCANNING, BatchStatus.SCANNING),
    Kind.JOB: Rule(Job, JobStatus.QUEUED, JobStatus.RUNNING),
    Kind.TRAINING: Rule(Training, TrainingStatus.QUEUED, TrainingStatus.RUNNING),
}
#: the columns of a row that nobody holds
LET_GO: Final[Mapping[str, Any]] = {"owner": None, "lease_until": None}
#: the columns of a row that waits anew, so that it is announced anew
WAITS_AGAIN: Final[Mapping[str, Any]] = {**LET_GO, "published_at": None, "publish_count": 0}


def claim(
    session: Session, kind: Kind, row: uuid.UUID, *, owner: str, lease: timedelta
) -> Lease | None:
    """Take a waiting row, or one whose lease ran out. None: nothing to do, somebody has it.

    The attempt counts from here, so a row that kills its worker is counted too.
    """
    rule, at = RULES[kind], now(session)
    table = rule.table
    free = or_(
        and_(table.status == rule.waits, table.owner.is_(None)),
        and_(table.status == rule.held, table.lease_until < at),
    )
    values: dict[str, Any] = {"status": rule.held}
    if hasattr(table, "started_at"):
        values["started_at"] = func.coalesce(table.started_at, at)
    taken = session.execute(
        update(table)
        .where(
            table.id == row,
            free,
            table.cancel_requested.is_(False),
            _is_to_pause(kind).is_(False),
            table.attempt < _attempts(kind),
            or_(table.not_before.is_(None), table.not_before <= at),
        )
        .values(
            **values,
            attempt=table.attempt + 1,
            token=table.token + 1,
            owner=owner,
            lease_until=at + lease,
            not_before=None,
        )
        .returning(table.token, table.attempt)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return None if taken is None else Lease(kind, row, taken.token, taken.attempt, owner)


def renew(session: Session, leases: Sequence[Lease], lease: timedelta) -> Renewal:
    """Lengthen leases to ``lease`` from now; say which are lost, to be canceled or to be paused."""
    lost: set[uuid.UUID] = set()
    cancel: set[uuid.UUID] = set()
    pause: set[uuid.UUID] = set()
    for held in sorted(leases, key=lambda one: one.id):  # one order for all: no deadlocks
        table = RULES[held.kind].table
        wanted = session.execute(
            update(table)
            .where(is_held(held))
            .values(lease_until=now(session) + lease)
            .returning(table.cancel_requested, _is_to_pause(held.kind).label("pause_requested"))
            .execution_options(synchronize_session=False)
        ).one_or_none()
        if wanted is None:
            lost.add(held.id)
        elif wanted.cancel_requested:
            cancel.add(held.id)
        elif wanted.pause_requested:
            pause.add(held.id)
    return Renewal(frozenset(lost), frozenset(cancel), frozenset(pause))


def is_held(lease: Lease) -> ColumnElement[bool]:
    """Return the condition that a row is still held under this lease."""
    rule = RULES[lease.kind]
    return and_(
        rule.table.id == lease.id,
        rule.table.token == lease.token,
        rule.table.owner == lease.owner,
        rule.table.status == rule.held,
    )


def hold(session: Session, lease: Lease) -> Held:
    """Lock the row until the end of the transaction and say what its holder must know.

    Raises:
        Fenced: the row is no longer held under this lease.
    """
    table = RULES[lease.kind].table
    row = session.execute(
        select(
            table.cancel_requested,
            _is_to_pause(lease.kind).label("pause_requested"),
            (table.attempt < _attempts(lease.kind)).label("left"),
        )
        .where(is_held(lease))
        .with_for_update(key_share=True)
    ).one_or_none()
    if row is None:
        raise Fenced(lease)
    return Held(
        cancel_requested=row.cancel_requested,
        pause_requested=row.pause_requested,
        attempts_left=row.left,
    )


def write(session: Session, lease: Lease, **values: Any) -> None:
    """Set columns of the held row.

    Raises:
        Fenced: the row is no longer held under this lease; nothing was written.
    """
    table = RULES[lease.kind].table
    written = session.execute(
        update(table)
        .where(is_held(lease))
        .values(**values)
        .returning(table.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if written is None:
        raise Fenced(lease)


@dataclass(frozen=True, slots=True)
class Lapsed:
    """A row whose holder went silent: its lease as it was, and what may follow."""

    lease: Lease
    cancel_requested: bool
    pause_requested: bool
    attempts_left: bool


def lapsed(session: Session, kind: Kind, *, lane: str, limit: int = 500) -> list[Lapsed]:
    """Return rows of ``lane`` whose lease ran out, locked; rows in other hands are passed over.

    One that is to be canceled is returned from any lane: its own may be gone, and nobody goes on
    with it.
    """
    rule = RULES[kind]
    table = rule.table
    rows = session.execute(
        select(
            table.id,
            table.token,
            table.attempt,
            table.owner,
            table.cancel_requested,
            _is_to_pause(kind).label("pause_requested"),
            (table.attempt < _attempts(kind)).label("left"),
        )
        .where(
            table.status == rule.held,
            table.owner.is_not(None),
            table.lease_until < now(session),
            or_(table.lane == lane, table.cancel_requested),
        )
        .order_by(table.id)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
    ).all()
    return [
        Lapsed(
            Lease(kind, row.id, row.token, row.attempt, row.owner),
            cancel_requested=row.cancel_requested,
            pause_requested=row.pause_requested,
            attempts_left=row.left,
        )
        for row in rows
    ]


def backoff(attempt: int, at: datetime) -> datetime:
    """Return when to try again after ``attempt`` failed: 2, 4, 8 ... 60 s, half to one and a half.

    The spread keeps jobs that failed together from coming back together.
    """
    doublings: int = min(max(attempt - 1, 0), 16)
    wait = min(_BACKOFF_BASE * 2.0**doublings, _BACKOFF_CAP)
    spread: float = random.uniform(0.5, 1.5)  # noqa: S311 - a spread, not a secret
    return at + wait * spread


def _is_to_pause(kind: Kind) -> ColumnElement[bool]:
    """Return whether somebody asked to pause; trainings alone can be."""
    if kind is Kind.TRAINING:
        return Training.pause_requested  # type: ignore[return-value]  # a mapped column is one
    return false()


def _attempts(kind: Kind) -> ColumnElement[int]:
    """Return how often a row of this kind may be tried."""
    match kind:
        case Kind.BATCH:
            return literal(SCAN_ATTEMPTS)
        case Kind.JOB:
            return Job.max_attempts  # type: ignore[return-value]  # a mapped column is one
        case Kind.TRAINING:
            return Training.max_attempts  # type: ignore[return-value]  # ditto
