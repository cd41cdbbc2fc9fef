"""The audit trail as readers see it, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from records.listing.paging import AnyRow, Order, Page, Window, page
from records.tables import AuditRecord

ORDER: Final = Order(listing="audit", columns=(AuditRecord.sequence,))


@dataclass(frozen=True, kw_only=True)
class AuditRow:
    """One audit record, in the words of PS3.15 A.5."""

    sequence: int
    event_id: str
    event_action_code: str
    event_date_time: datetime
    event_outcome_indicator: int
    active_participant: str
    participant_object_type: str
    participant_object_id: str
    detail: dict[str, Any]
    previous_hash: str
    hash: str


@dataclass(frozen=True, kw_only=True)
class About:
    """Which records are asked for; None asks for all."""

    event_id: str | None = None
    active_participant: str | None = None
    object_type: str | None = None
    object_id: str | None = None


def audit_records(
    session: Session,
    about: About | None = None,
    *,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[AuditRow]:
    """Return one page of audit records, newest first."""
    asked = about or About()
    query = select(AuditRecord)
    for column, value in (
        (AuditRecord.event_id, asked.event_id),
        (AuditRecord.active_participant, asked.active_participant),
        (AuditRecord.participant_object_type, asked.object_type),
        (AuditRecord.participant_object_id, asked.object_id),
    ):
        if value is not None:
            query = query.where(column == value)
    return page(session, query, ORDER, Window(limit=limit, cursor=cursor), _rows)


def _rows(rows: Sequence[AnyRow]) -> list[AuditRow]:
    names = AuditRow.__dataclass_fields__
    return [AuditRow(**{name: getattr(row[0], name) for name in names}) for row in rows]
