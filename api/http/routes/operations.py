"""The audit trail and the numbers."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query

from api.http.access import AUDIT, READ
from api.http.parsing import StrictRoute
from api.http.services import Cursor, Held, Limit
from records import audit, listing
from records.database import reading
from records.listing import AuditRow, Page, Stats
from records.listing.trail import About

router = APIRouter(prefix="/v1", route_class=StrictRoute)

Word = Annotated[str | None, Query(max_length=128)]


@dataclass(frozen=True)
class AuditVerdict:
    """Whether the audit chain is whole, and where it first is not."""

    ok: bool
    count: int
    first_bad_sequence: int | None
    sentence: str


@router.get(
    "/audit", tags=["audit"], summary="List audit records, newest first", dependencies=[AUDIT]
)
def trail(  # noqa: PLR0913, PLR0917 - each is one query parameter, passed by name
    services: Held,
    event_id: Word = None,
    active_participant: Word = None,
    object_type: Word = None,
    object_id: Word = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[AuditRow]:
    """Return one page."""
    about = About(
        event_id=event_id,
        active_participant=active_participant,
        object_type=object_type,
        object_id=object_id,
    )
    with reading(services.sessions) as session:
        return listing.audit_records(session, about, limit=limit, cursor=cursor)


@router.get(
    "/audit/verify", tags=["audit"], summary="Recompute the audit chain", dependencies=[AUDIT]
)
def verify(services: Held) -> AuditVerdict:
    """Return whether every record is as it was written and none is missing."""
    with reading(services.sessions) as session:
        verdict = audit.verify(session)
    return AuditVerdict(verdict.ok, verdict.count, verdict.first_bad_sequence, verdict.sentence)


@router.get(
    "/stats",
    tags=["stats"],
    summary="Show queues, leases, models and results in numbers",
    dependencies=[READ],
)
def stats(services: Held) -> Stats:
    """Return the numbers, at most two seconds old."""
    return services.stats()
