"""Analyses: documents registered once under a name and version, immutable from then on."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from records import audit
from records.database import now
from records.tables import Analysis


class AnalysisMissing(LookupError):
    """No analysis of that name, or no such version of it, is registered."""


class VersionTaken(ValueError):
    """The name and version are registered already, for another document."""


@dataclass(frozen=True, kw_only=True)
class NewAnalysis:
    """An analysis document and what it states about itself."""

    name: str
    version: str
    #: sha256 of the document as canonical JSON
    digest: str
    document: dict[str, Any] = field(repr=False)


def register(session: Session, new: NewAnalysis, *, by: str) -> Analysis:
    """Register a document. The same one a second time returns the first row.

    Raises:
        VersionTaken: the name and version stand for another document.

    """
    known = _find(session, new.name, new.version)
    if known is None:
        row = Analysis(
            id=uuid.uuid4(),
            name=new.name,
            version=new.version,
            digest=new.digest,
            document=new.document,
            created_at=now(session),
        )
        try:
            with session.begin_nested():
                session.add(row)
        except IntegrityError:  # two processes start at once and register what is shipped
            known = _find(session, new.name, new.version)
        else:
            _audit(session, row, by)
            return row
    if known is None or known.digest != new.digest:
        sentence = f"{new.name} {new.version} is registered already, for another document"
        raise VersionTaken(sentence)
    return known


def resolve(session: Session, asked: str) -> Analysis:
    """Return the analysis asked for as ``name`` (its newest version) or ``name@version``.

    Raises:
        AnalysisMissing: it is not registered.

    """
    name, _, version = asked.partition("@")
    query = select(Analysis).where(Analysis.name == name)
    if version:
        query = query.where(Analysis.version == version)
    row = session.scalars(query.order_by(Analysis.created_at.desc()).limit(1)).one_or_none()
    if row is None:
        sentence = f"no analysis {asked} is registered"
        raise AnalysisMissing(sentence)
    return row


def newest(session: Session) -> Sequence[Analysis]:
    """Return the newest version of every analysis, by name."""
    rows = session.scalars(select(Analysis).order_by(Analysis.name, Analysis.created_at))
    return list({row.name: row for row in rows}.values())


def _find(session: Session, name: str, version: str) -> Analysis | None:
    asked = (Analysis.name == name) & (Analysis.version == version)
    return session.scalars(select(Analysis).where(asked)).one_or_none()


def _audit(session: Session, row: Analysis, by: str) -> None:
    audit.append(
        session,
        event_id="analysis.registered",
        action="C",
        by=by,
        object_type="analysis",
        object_id=f"{row.name}@{row.version}",
        detail={"digest": row.digest},
    )
