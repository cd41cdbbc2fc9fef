"""Model versions: registered once, immutable, at most one of a name active at a time.

A name and a version are never used for other bytes. Promotion, rollback and retirement say who
and why, and leave an audit record in the same transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from records import audit, gates
from records.base import Stage, Withdrawal
from records.database import now
from records.tables import ModelVersion


class ModelVersionMissing(LookupError):
    """No version of that name and number is registered."""


class VersionTaken(ValueError):
    """The name and version are registered already, for other bytes."""


class StageRefused(ValueError):
    """The version is in a stage from which the asked step does not go."""


@dataclass(frozen=True, kw_only=True)
class NewModelVersion:
    """What a bundle in the store states about itself, to be registered."""

    name: str
    version: str
    #: sha256 over every file of the bundle, in path order
    digest: str
    kind: str
    #: folder of the bundle in the store
    path: str
    bundle_metadata: dict[str, Any] = field(repr=False)
    metrics: dict[str, Any] = field(default_factory=dict, repr=False)
    training_id: uuid.UUID | None = None


def register(session: Session, new: NewModelVersion, *, by: str) -> ModelVersion:
    """Register a bundle as a candidate. The same bytes a second time return the first row.

    Raises:
        VersionTaken: the name and version stand for other bytes.

    """
    known = find(session, new.name, new.version)
    if known is None:
        row = _candidate(new, now(session))
        try:
            with session.begin_nested():
                session.add(row)
        except IntegrityError:  # two workers start at once and register what is shipped
            known = get(session, new.name, new.version)
        else:
            _audit(session, "model.registered", "C", row, by, {"digest": row.digest})
            return row
    if known.digest != new.digest:
        sentence = f"{new.name} {new.version} is registered already, for other bytes"
        raise VersionTaken(sentence)
    return known


def _candidate(new: NewModelVersion, created_at: datetime) -> ModelVersion:
    return ModelVersion(
        id=uuid.uuid4(),
        name=new.name,
        version=new.version,
        digest=new.digest,
        kind=new.kind,
        stage=Stage.CANDIDATE,
        path=new.path,
        bundle_metadata=new.bundle_metadata,
        metrics=new.metrics,
        training_id=new.training_id,
        created_at=created_at,
    )


def find(session: Session, name: str, version: str) -> ModelVersion | None:
    """Return one version of a model, or None."""
    asked = (ModelVersion.name == name) & (ModelVersion.version == version)
    return session.scalars(select(ModelVersion).where(asked)).one_or_none()


def get(session: Session, name: str, version: str) -> ModelVersion:
    """Return one version of a model.

    Raises:
        ModelVersionMissing: it is not registered.

    """
    row = find(session, name, version)
    if row is None:
        sentence = f"{name} {version} is not registered"
        raise ModelVersionMissing(sentence)
    return row


def active(session: Session, name: str) -> ModelVersion | None:
    """Return the active version of a model, or None."""
    asked = (ModelVersion.name == name) & (ModelVersion.stage == Stage.ACTIVE)
    return session.scalars(select(ModelVersion).where(asked)).one_or_none()


def lock_active(session: Session, name: str) -> ModelVersion | None:
    """Return the active version, and let no other change of this name's stages come between."""
    _lock(session, name)
    return active(session, name)


def versions(session: Session, name: str | None = None) -> Sequence[ModelVersion]:
    """Return every version of one model or of all, by name, oldest first."""
    query = select(ModelVersion).order_by(
        ModelVersion.name, ModelVersion.created_at, ModelVersion.version
    )
    if name is not None:
        query = query.where(ModelVersion.name == name)
    return session.scalars(query).all()


def next_version(session: Session, name: str, major: int, *, at_least: int = 0) -> str:
    """Return the first free ``<major>.<n>`` of a model with n >= ``at_least``."""
    query = select(ModelVersion.version).where(ModelVersion.name == name)
    taken = set(session.scalars(query))
    number = at_least
    while f"{major}.{number}" in taken:
        number += 1
    return f"{major}.{number}"


def promote(
    session: Session, name: str, version: str, *, by: str, why: str, override: bool = False
) -> ModelVersion:
    """Make one version the active one. The version it replaces is retired.

    Args:
        session: of the transaction.
        name: of the model.
        version: to become the active one.
        by: who approves.
        why: the reason, for the audit.
        override: whether it goes active whatever its gate says, or without one; the audit says so.

    Raises:
        ModelVersionMissing: it is not registered.
        StageRefused: it is active already, or was recalled.
        GateRefused: its gate does not let it pass.

    """
    _lock(session, name)
    row = get(session, name, version)
    if row.stage == Stage.ACTIVE:
        sentence = f"{name} {version} is active already"
        raise StageRefused(sentence)
    if row.withdrawn is Withdrawal.RECALLED:
        sentence = f"{name} {version} was recalled"
        raise StageRefused(sentence)
    before = active(session, name)
    gate = None if override else gates.require(session, row, before)
    row.previous_id = None if before is None else before.id
    row.withdrawn, row.is_shadow = None, False
    _replace(session, before, row)
    detail = {
        "why": why,
        "replaced": None if before is None else before.version,
        "gate": "overridden" if gate is None else str(gate.id),
    }
    _audit(session, "model.promoted", "U", row, by, detail)
    return row


def rollback(session: Session, name: str, *, by: str, why: str) -> ModelVersion:
    """Return to the version that was active before the active one was promoted.

    What the active one said is no longer in force; what was said before it is again.

    Raises:
        ModelVersionMissing: the name has no active version.
        StageRefused: no version was active before this one, or that one was recalled.

    """
    _lock(session, name)
    current = active(session, name)
    if current is None:
        sentence = f"{name} has no active version to roll back from"
        raise ModelVersionMissing(sentence)
    target = session.get(ModelVersion, current.previous_id) if current.previous_id else None
    if target is None:
        sentence = f"no version of {name} was active before {current.version}"
        raise StageRefused(sentence)
    if target.withdrawn is Withdrawal.RECALLED:
        sentence = f"{name} {target.version}, which was active before, was recalled"
        raise StageRefused(sentence)
    current.withdrawn, target.withdrawn = Withdrawal.ROLLED_BACK, None
    _replace(session, current, target)
    _audit(session, "model.rolled_back", "U", target, by, {"why": why, "replaced": current.version})
    return target


def retire(session: Session, name: str, version: str, *, by: str, why: str) -> ModelVersion:
    """Take one version out of use. Retiring the active one leaves the name without any.

    Raises:
        ModelVersionMissing: it is not registered.
        StageRefused: it is retired already.

    """
    _lock(session, name)
    row = get(session, name, version)
    if row.stage == Stage.RETIRED:
        sentence = f"{name} {version} is retired already"
        raise StageRefused(sentence)
    detail = {"why": why, "was": row.stage.value}
    row.stage, row.is_shadow = Stage.RETIRED, False
    session.flush()
    _audit(session, "model.retired", "U", row, by, detail)
    return row


def _lock(session: Session, name: str) -> None:
    """Let one stage change of a name happen at a time (PostgreSQL; SQLite has one writer)."""
    rows = select(ModelVersion).where(ModelVersion.name == name).order_by(ModelVersion.id)
    session.scalars(rows.with_for_update().execution_options(populate_existing=True)).all()


def _replace(session: Session, before: ModelVersion | None, after: ModelVersion) -> None:
    """Swap the active version. Flushed in two steps: the index allows one active at any time."""
    if before is not None:
        before.stage = Stage.RETIRED
        session.flush()
    after.stage = Stage.ACTIVE
    session.flush()


def _audit(
    session: Session, event: str, action: str, row: ModelVersion, by: str, detail: dict[str, Any]
) -> None:
    audit.append(
        session,
        event_id=event,
        action=action,
        by=by,
        object_type="model_version",
        object_id=f"{row.name}@{row.version}",
        detail=detail,
    )
