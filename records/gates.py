"""Gates: what was found when a candidate was held against the active version.

They are only added to. The last one of a version is the one that counts, and only for as long as
the version that it was held against stays active.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from records import audit
from records.base import GateDecision
from records.database import now
from records.tables import Gate, ModelVersion, Snapshot


class GateMissing(LookupError):
    """No gate of that version is stored."""


class GateRefused(ValueError):
    """The gate of a version does not say that it may be promoted now."""


@dataclass(frozen=True, kw_only=True)
class NewGate:
    """What was decided, and where what it came from is kept."""

    model_version_id: uuid.UUID
    active_id: uuid.UUID | None
    decision: GateDecision
    sentence: str
    statement: dict[str, Any] = field(repr=False)
    #: sha256 in the store
    page: str


def add(session: Session, new: NewGate, *, by: str) -> Gate:
    """Keep a gate and say so in the audit."""
    row = Gate(id=uuid.uuid4(), created_at=now(session), **vars(new))
    session.add(row)
    session.flush()
    version = session.get_one(ModelVersion, row.model_version_id)
    audit.append(
        session,
        event_id="gate.decided",
        action="C",
        by=by,
        object_type="model_version",
        object_id=f"{version.name}@{version.version}",
        detail={"gate": str(row.id), "decision": row.decision.value},
    )
    return row


def of(session: Session, version: ModelVersion) -> Sequence[Gate]:
    """Return every gate of a version, newest first."""
    query = select(Gate).where(Gate.model_version_id == version.id)
    return session.scalars(query.order_by(Gate.created_at.desc(), Gate.id)).all()


def latest(session: Session, version: ModelVersion) -> Gate:
    """Return the gate that counts.

    Raises:
        GateMissing: there is none.

    """
    every = of(session, version)
    if not every:
        sentence = f"{version.name} {version.version} was not held against the active version"
        raise GateMissing(sentence)
    return every[0]


def require(session: Session, version: ModelVersion, active: ModelVersion | None) -> Gate:
    """Return the gate that lets a version take the place of the active one.

    Raises:
        GateRefused: there is none, it says otherwise, or it was of another active version.

    """
    name = f"{version.name} {version.version}"
    try:
        gate = latest(session, version)
    except GateMissing as missing:
        raise GateRefused(str(missing)) from missing
    if gate.decision is not GateDecision.PROMOTE:
        sentence = f"the gate of {name} says {gate.decision}: {gate.sentence}"
        raise GateRefused(sentence)
    if gate.active_id != (None if active is None else active.id):
        against = session.get(ModelVersion, gate.active_id) if gate.active_id else None
        then = "no version" if against is None else against.version
        since = "no version" if active is None else active.version
        sentence = f"{name} was held against {then}, and {since} is active now"
        raise GateRefused(sentence)
    return gate


def keep_snapshot(session: Session, digest: str, counts: dict[str, int], sha256: str) -> None:
    """Keep which cases a training used.

    The same snapshot again is the same row. Its list of cases may be another one, where the key
    that patients are named under was changed: the newest can be compared with what comes.
    """
    known = session.get(Snapshot, digest)
    if known is not None:
        known.sha256 = sha256
        return
    row = Snapshot(digest=digest, counts=counts, sha256=sha256, created_at=now(session))
    with suppress(IntegrityError), session.begin_nested():  # another trainer was first
        session.add(row)
