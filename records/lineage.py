"""Where model versions come from and what came of them, both ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from records import models
from records.tables import ModelVersion, Snapshot, Training


def training_of(session: Session, version: ModelVersion) -> Training | None:
    """Return the training that a version is the product of; None: it came from elsewhere."""
    return session.get(Training, version.training_id) if version.training_id else None


def snapshot_of(session: Session, version: ModelVersion) -> Snapshot | None:
    """Return the cases a version was trained on, or None where they are not known here."""
    training = training_of(session, version)
    digest = None if training is None else training.snapshot_digest
    return None if digest is None else session.get(Snapshot, digest)


def line_of(session: Session, recipe: dict[str, Any]) -> Sequence[ModelVersion]:
    """Return what a product of this recipe is held against or trained from, nearest first.

    The active version of its name, the version it takes its first weights from, and the ones those
    took theirs from.
    """
    active = models.active(session, str(recipe.get("name")))
    found = [] if active is None else _with_sources(session, active)
    source = source_of(session, recipe)
    found += [] if source is None else _with_sources(session, source)
    return list(dict.fromkeys(found))


def source_of(session: Session, recipe: dict[str, Any]) -> ModelVersion | None:
    """Return the registered version that a training took its first weights from."""
    transfer = recipe.get("transfer") or {}
    name, version = transfer.get("model"), transfer.get("version")
    if name is None:
        return None
    if version is None:
        return models.active(session, name)
    return models.find(session, name, version)


def _with_sources(session: Session, version: ModelVersion) -> list[ModelVersion]:
    """Return a version and the ones its weights came from."""
    found: list[ModelVersion] = []
    one: ModelVersion | None = version
    while one is not None and one not in found:
        found.append(one)
        training = training_of(session, one)
        one = None if training is None else source_of(session, training.recipe)
    return found
