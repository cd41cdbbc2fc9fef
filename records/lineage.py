"""Where model versions come from and what came of them, both ways."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from records import models
from records.base import JobStatus
from records.standing import Standing, standing
from records.tables import Analysis, Job, JobModel, ModelVersion, Snapshot, Study, Training


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
    """Return the registered version that a training takes its first weights from.

    None: it begins with chance, or with a file of which nothing else is known.
    """
    transfer = recipe.get("transfer")
    source = transfer.get("source") if isinstance(transfer, dict) else None
    name, _, version = str(source or "").partition("@")
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


@dataclass(frozen=True, kw_only=True)
class Use:
    """One job that a version took part in, and how what it found stands."""

    job: uuid.UUID
    batch: uuid.UUID
    study: str
    analysis: str
    status: JobStatus
    standing: Standing


def uses(session: Session, version: ModelVersion) -> Iterator[Use]:
    """Yield every job that is bound to a version, oldest first."""
    stands = standing().label("stands")
    query = (
        select(Job.id, Job.batch_id, Study.study_instance_uid, Analysis.name, Job.status, stands)
        .join(Study, Study.id == Job.study_id)
        .join(Analysis, Analysis.id == Job.analysis_id)
        .where(_is_bound(version))
        .order_by(Job.created_at, Job.id)
    )
    for row in session.execute(query):
        yield Use(
            job=row.id,
            batch=row.batch_id,
            study=row.study_instance_uid,
            analysis=row.name,
            status=row.status,
            standing=Standing(row.stands),
        )


def counts(session: Session, version: ModelVersion) -> dict[str, int]:
    """Return how many of the jobs that a version answered in stand in which way."""
    each = select(standing().label("stands")).where(
        Job.status == JobStatus.SUCCEEDED, _is_bound(version)
    )
    stands = each.subquery().c.stands
    query = select(stands, func.count()).group_by(stands)
    return {str(how): count for how, count in session.execute(query)}


def _is_bound(version: ModelVersion) -> ColumnElement[bool]:
    bound = select(JobModel.job_id).where(JobModel.model_version_id == version.id)
    return Job.id.in_(bound)
