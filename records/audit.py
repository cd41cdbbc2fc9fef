"""The audit chain: append-only records, each holding the hash of the one before it.

The words are those of the DICOM audit message (PS3.15 A.5). Three things keep the chain:
triggers refuse UPDATE and DELETE, each hash covers a whole record and its forerunner, and the
one-row table ``audit_head`` holds count and last hash, which shows a tail that was cut off.
Whoever can drop triggers can rewrite all three; comparing the head with a copy kept elsewhere
(``nightshift audit export``) is the answer to that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Result, func, insert, select, update
from sqlalchemy.orm import Session

from records.database import now
from records.tables import AuditHead, AuditRecord

NO_RECORD: Final = "0" * 64

SUCCESS: Final = 0
MINOR_FAILURE: Final = 4
SERIOUS_FAILURE: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What somebody did: the part of an audit record that its author says."""

    event_id: str
    action: str
    by: str
    object_type: str
    object_id: str
    outcome: int = SUCCESS
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the chain is whole, and where it first is not."""

    count: int
    first_bad_sequence: int | None
    sentence: str

    @property
    def ok(self) -> bool:
        """Whether every record is as it was written, and none is missing."""
        return self.first_bad_sequence is None


def append(  # noqa: PLR0913 - an audit record has these parts; all are named
    session: Session,
    *,
    event_id: str,
    action: str,
    by: str,
    object_type: str,
    object_id: object,
    outcome: int = SUCCESS,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Append one record in the caller's transaction.

    ``action`` is C, R, U, D or E; ``outcome`` 0, 4, 8 or 12. ``detail`` carries no patient data;
    numbers with a fraction are kept as text, so that every database hands back the same bytes.
    The head stays locked until the commit: append last, after the rows it speaks of.
    """
    statement = Statement(
        event_id=event_id,
        action=action,
        by=by,
        object_type=object_type,
        object_id=str(object_id),
        outcome=outcome,
        detail=detail or {},
    )
    append_all(session, [statement])


def append_all(session: Session, statements: Sequence[Statement]) -> None:
    """Append records in order, in the caller's transaction, with one lock of the head."""
    if not statements:
        return
    session.flush()  # what the records speak of goes first
    count, previous = session.execute(
        select(AuditHead.count, AuditHead.hash).where(AuditHead.id == 1).with_for_update()
    ).one()
    at = now(session)  # after the lock, so that times follow the order of the chain
    rows: list[dict[str, Any]] = []
    for sequence, statement in enumerate(statements, start=count + 1):
        row = _row(statement, sequence, at, previous)
        previous = row["hash"]
        rows.append(row)
    session.execute(insert(AuditRecord), rows)
    session.execute(
        update(AuditHead)
        .where(AuditHead.id == 1)
        .values(count=rows[-1]["sequence"], hash=previous)
        .execution_options(synchronize_session=False)
    )


def verify(session: Session) -> Verdict:
    """Recompute the whole chain, streaming. Names the first record that is not as it was written.

    Records appended meanwhile are not looked at.
    """
    head = session.execute(select(AuditHead.count, AuditHead.hash)).one_or_none()
    if head is None:
        return Verdict(0, 1, "The head of the audit chain is missing.")
    expected, last_hash = head
    count, previous = 0, NO_RECORD
    with _stored(session, upto=expected) as stored:
        for row in stored:
            count += 1
            fault = _fault(row, count, previous)
            if fault is not None:
                return Verdict(count - 1, count, fault)
            previous = row.hash
    if count < expected:
        missing = f"The last {expected - count} of {expected} audit records are missing."
        return Verdict(count, count + 1, missing)
    if previous != last_hash:
        return Verdict(count, count, "The last audit record is not the one written last.")
    if (beyond := _beyond_head(session)) is not None:
        return Verdict(count, beyond, f"Record {beyond} lies beyond the end of the chain.")
    return Verdict(count, None, f"All {count} audit records are as they were written.")


_COLUMNS = [
    AuditRecord.sequence,
    AuditRecord.event_id,
    AuditRecord.event_action_code,
    AuditRecord.event_date_time,
    AuditRecord.event_outcome_indicator,
    AuditRecord.active_participant,
    AuditRecord.participant_object_type,
    AuditRecord.participant_object_id,
    AuditRecord.detail,
    AuditRecord.previous_hash,
    AuditRecord.hash,
]


def _stored(session: Session, *, upto: int) -> Result[Any]:
    query = select(*_COLUMNS).where(AuditRecord.sequence <= upto).order_by(AuditRecord.sequence)
    return session.execute(query.execution_options(yield_per=1000))


def _fault(row: Any, expected: int, previous: str) -> str | None:
    if row.sequence != expected:
        return f"Audit record {expected} is missing."
    if row.previous_hash != previous:
        return f"Audit record {expected} does not follow the one before it."
    if row.hash != _hash(row._asdict()):
        return f"Audit record {expected} is not as it was written."
    return None


def _beyond_head(session: Session) -> int | None:
    """Return a sequence after the head, both read in one statement; none in a whole chain."""
    head = select(AuditHead.count).where(AuditHead.id == 1).scalar_subquery()
    found: int | None = session.scalar(
        select(func.min(AuditRecord.sequence)).where(AuditRecord.sequence > head)
    )
    return found


def _row(statement: Statement, sequence: int, at: datetime, previous: str) -> dict[str, Any]:
    row = {
        "sequence": sequence,
        "event_id": _text(statement.event_id),
        "event_action_code": statement.action,
        "event_date_time": at,
        "event_outcome_indicator": statement.outcome,
        "active_participant": _text(statement.by)[:120],
        "participant_object_type": _text(statement.object_type),
        "participant_object_id": _text(statement.object_id),
        "detail": _plain(statement.detail),
        "previous_hash": previous,
    }
    return {**row, "hash": _hash(row)}


def _hash(row: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a record in canonical JSON: sorted keys, no spaces, UTC, ASCII."""
    said = {name: value for name, value in row.items() if name != "hash"}
    said["event_date_time"] = said["event_date_time"].astimezone(UTC).isoformat("T", "microseconds")
    canonical = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Reduce to what SQLite and PostgreSQL both give back bit for bit: no floats, no NUL."""
    match value:
        case None | bool() | int():
            return value
        case str():
            return _text(value)
        case Mapping():
            return {_text(str(k)): _plain(v) for k, v in value.items()}
        case list() | tuple() | set() | frozenset():
            ordered = sorted(value, key=str) if isinstance(value, set | frozenset) else value
            return [_plain(v) for v in ordered]
        case _:
            return _text(str(value))


def _text(value: str) -> str:
    """Drop what PostgreSQL cannot hold: NUL and lone surrogates. Plain ``str``, never an enum."""
    return str(value).replace("\0", "").encode("utf-8", "replace").decode()
