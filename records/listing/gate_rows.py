"""Gates and snapshots as readers see them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from records import gates as kept
from records import models
from records.base import GateDecision
from records.listing.paging import AnyRow, Order, Page, Window, page
from records.tables import Gate, ModelVersion, Snapshot

SNAPSHOTS: Final = Order(listing="snapshots", columns=(Snapshot.created_at, Snapshot.digest))


@dataclass(frozen=True, kw_only=True)
class GateRow:
    """One gate of a model version. ``against`` is the version that was active then."""

    id: uuid.UUID
    model: str
    version: str
    against: str | None
    decision: GateDecision
    sentence: str
    #: rule, verdict and the digests of all it was computed from
    statement: dict[str, Any]
    #: sha256 of the page to look at
    page: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class SnapshotRow:
    """The frozen cases of a training: how many, by part."""

    digest: str
    counts: dict[str, int]
    #: of the list of cases in the store: digests, pseudonyms, parts
    sha256: str
    created_at: datetime


def gates(session: Session, name: str, version: str) -> list[GateRow]:
    """Return every gate of a version, newest first.

    Raises:
        ModelVersionMissing: it is not registered.

    """
    row = models.get(session, name, version)
    return [_gate(session, gate, row) for gate in kept.of(session, row)]


def snapshots(session: Session, *, limit: int = 50, cursor: str | None = None) -> Page[SnapshotRow]:
    """Return one page of snapshots, newest first."""

    def make(rows: Sequence[AnyRow]) -> list[SnapshotRow]:
        return [_snapshot(row[0]) for row in rows]

    return page(session, select(Snapshot), SNAPSHOTS, Window(limit=limit, cursor=cursor), make)


def snapshot(session: Session, digest: str) -> SnapshotRow | None:
    """Return one snapshot, or None."""
    row = session.get(Snapshot, digest)
    return None if row is None else _snapshot(row)


def _gate(session: Session, row: Gate, version: ModelVersion) -> GateRow:
    against = session.get(ModelVersion, row.active_id) if row.active_id else None
    return GateRow(
        id=row.id,
        model=version.name,
        version=version.version,
        against=None if against is None else against.version,
        decision=row.decision,
        sentence=row.sentence,
        statement=row.statement,
        page=row.page,
        created_at=row.created_at,
    )


def _snapshot(row: Snapshot) -> SnapshotRow:
    return SnapshotRow(
        digest=row.digest, counts=row.counts, sha256=row.sha256, created_at=row.created_at
    )
