"""Drift: the looks that were taken at it, newest first, and since when there is one."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from records import audit
from records.database import now
from records.tables import DriftReport


@dataclass(frozen=True, kw_only=True)
class NewDriftReport:
    """What one look found. ``document`` holds windows, tests and their numbers: no patient data."""

    analysis: str
    version: str
    drifted: bool
    document: dict[str, Any]


def add(session: Session, new: NewDriftReport, *, by: str) -> DriftReport:
    """Keep what a look found. A drift that begins or ends is audited."""
    before = latest(session, new.analysis)
    row = DriftReport(
        id=uuid.uuid4(),
        analysis=new.analysis,
        version=new.version,
        drifted=new.drifted,
        document=new.document,
        created_at=now(session),
    )
    session.add(row)
    session.flush()
    if new.drifted != (before is not None and before.drifted):
        audit.append(
            session,
            event_id="drift.began" if new.drifted else "drift.ended",
            action="E",
            by=by,
            object_type="analysis",
            object_id=new.analysis,
            detail={"report": str(row.id), "version": new.version},
        )
    return row


def latest(session: Session, analysis: str) -> DriftReport | None:
    """Return the last look at an analysis, or None."""
    query = (
        select(DriftReport)
        .where(DriftReport.analysis == analysis)
        .order_by(DriftReport.created_at.desc(), DriftReport.id)
        .limit(1)
    )
    return session.scalars(query).one_or_none()


def latest_of_all(session: Session) -> Sequence[DriftReport]:
    """Return the last look at every analysis, by name."""
    last = (
        select(DriftReport.analysis, func.max(DriftReport.created_at).label("at"))
        .group_by(DriftReport.analysis)
        .subquery()
    )
    query = (
        select(DriftReport)
        .join(
            last, (last.c.analysis == DriftReport.analysis) & (last.c.at == DriftReport.created_at)
        )
        .order_by(DriftReport.analysis)
    )
    return session.scalars(query).all()


def began(session: Session, analysis: str) -> datetime | None:
    """Return when the drift that there is was first found; None: there is none."""
    of_analysis = DriftReport.analysis == analysis
    calm = select(func.max(DriftReport.created_at)).where(
        of_analysis, DriftReport.drifted.is_(False)
    )
    last_calm = session.scalar(calm)
    query = select(func.min(DriftReport.created_at)).where(of_analysis, DriftReport.drifted)
    if last_calm is not None:
        query = query.where(DriftReport.created_at > last_calm)
    return session.scalar(query)


def forget(session: Session, *, keep: int) -> int:
    """Remove the looks at each analysis but the latest ``keep``. Returns how many went.

    The look by which the drift that there is was found stays whatever its age: schedules train
    once for a drift, and know it by its beginning.
    """
    many = select(DriftReport.analysis).group_by(DriftReport.analysis).having(func.count() > keep)
    gone = 0
    for analysis in session.scalars(many).all():
        of_analysis = DriftReport.analysis == analysis
        newest = (
            select(DriftReport.id)
            .where(of_analysis)
            .order_by(DriftReport.created_at.desc(), DriftReport.id)
            .limit(keep)
        )
        old = delete(DriftReport).where(of_analysis, DriftReport.id.not_in(newest))
        since = began(session, analysis)
        if since is not None:
            old = old.where(DriftReport.created_at != since)
        gone += len(session.scalars(old.returning(DriftReport.id)).all())
    return gone
