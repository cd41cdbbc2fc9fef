"""Shadow runs: candidates that run beside the active version, with nothing of it delivered."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from records import audit, models
from records.base import Stage
from records.database import now
from records.models import StageRefused
from records.orders import BoundModel
from records.tables import Job, ModelVersion, ShadowRun, Study


@dataclass(frozen=True, kw_only=True)
class NewShadowRun:
    """What a candidate said of one study in one step; ``reason``: why it said nothing."""

    job_id: uuid.UUID
    step: str
    model_version_id: uuid.UUID
    reason: str | None = None
    results: list[dict[str, Any]] = field(default_factory=list, repr=False)
    agreement: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class StudyDifference:
    """One study, and how far the two versions agreed on it. ``agreed`` runs from 0 to 1."""

    job: uuid.UUID
    study: str
    step: str
    reason: str | None
    agreed: float | None
    agreement: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ShadowReport:
    """All that a candidate would have said, against what was delivered."""

    model: str
    version: str
    is_on: bool
    studies: int
    failed: int
    #: share of the inputs whose top classes are the same, and the same beyond chance (Cohen 1960)
    same_class: float | None
    kappa: float | None
    #: mean over the studies, by label
    dice: dict[str, float]
    #: of all boxes, the share that both found: 2 same / (delivered + beside)
    same_boxes: float | None
    seconds: float
    #: the studies that differ most, first
    differences: list[StudyDifference]


def switch(session: Session, name: str, version: str, *, on: bool, by: str) -> ModelVersion:
    """Let a candidate run beside the active version, or no longer.

    Raises:
        ModelVersionMissing: it is not registered.
        StageRefused: it is no candidate, or was withdrawn.

    """
    row = models.get(session, name, version)
    if on and (row.stage is not Stage.CANDIDATE or row.withdrawn is not None):
        why = row.withdrawn or row.stage
        sentence = f"{name} {version} is {why}: only a candidate runs beside the active version"
        raise StageRefused(sentence)
    row.is_shadow = on
    session.flush()
    audit.append(
        session,
        event_id="model.shadowed",
        action="U",
        by=by,
        object_type="model_version",
        object_id=f"{name}@{version}",
        detail={"on": on},
    )
    return row


def beside(session: Session, bound: Mapping[str, BoundModel]) -> list[dict[str, BoundModel]]:
    """Return what runs beside the models of a job: one mapping of its steps for each candidate."""
    names = {model.name for model in bound.values()}
    query = select(ModelVersion).where(ModelVersion.is_shadow, ModelVersion.name.in_(names))
    rows = session.scalars(query.order_by(ModelVersion.name, ModelVersion.created_at)).all()
    every = [
        {
            step: BoundModel(
                id=row.id, name=row.name, version=row.version, digest=row.digest, path=row.path
            )
            for step, model in bound.items()
            if model.name == row.name and model.id != row.id
        }
        for row in rows
    ]
    return [steps for steps in every if steps]


def record(session: Session, runs: Sequence[NewShadowRun]) -> None:
    """Keep what a candidate said. A job that was carried twice keeps the first."""
    for run in runs:
        asked = (ShadowRun.job_id == run.job_id) & (ShadowRun.step == run.step)
        same = asked & (ShadowRun.model_version_id == run.model_version_id)
        if session.scalars(select(ShadowRun.id).where(same)).first() is None:
            session.add(ShadowRun(**vars(run), created_at=now(session)))
    session.flush()


def report(session: Session, name: str, version: str, *, most: int = 20) -> ShadowReport:
    """Return how far a candidate agreed with what was delivered, over all its runs.

    Raises:
        ModelVersionMissing: it is not registered.

    """
    row = models.get(session, name, version)
    query = (
        select(ShadowRun, Study.study_instance_uid)
        .join(Job, Job.id == ShadowRun.job_id)
        .join(Study, Study.id == Job.study_id)
        .where(ShadowRun.model_version_id == row.id)
        .order_by(ShadowRun.id)
        .options(defer(ShadowRun.results))
    )
    runs = session.execute(query).all()
    every = [run.agreement for run, _ in runs if run.reason is None]
    pairs = [tuple(pair) for one in every for pair in one["classes"]]
    boxes = [one["boxes"] for one in every if one["boxes"]]
    found = [_difference(run, study) for run, study in runs]
    known = [one for one in found if one.reason is not None or (one.agreed or 0.0) < 1.0]
    return ShadowReport(
        model=name,
        version=version,
        is_on=row.is_shadow,
        studies=len({study for _, study in runs}),
        failed=sum(run.reason is not None for run, _ in runs),
        same_class=_share(sum(one == other for one, other in pairs), len(pairs)),
        kappa=kappa(pairs),
        dice=_mean_dice(every),
        same_boxes=_share(
            2 * sum(one["same"] for one in boxes),
            sum(one["delivered"] + one["beside"] for one in boxes),
        ),
        seconds=sum(run.seconds for run, _ in runs),
        differences=sorted(known, key=lambda one: (one.agreed is not None, one.agreed))[:most],
    )


def kappa(pairs: Sequence[tuple[str, ...]]) -> float | None:
    """Return Cohen's kappa of pairs of classes; None where chance alone would agree always."""
    if not pairs:
        return None
    count = len(pairs)
    same = sum(one == other for one, other in pairs) / count
    first, second = (Counter(pair[place] for pair in pairs) for place in (0, 1))
    chance = sum(first[label] * second[label] for label in first) / count**2
    return None if chance == 1.0 else (same - chance) / (1.0 - chance)


def _difference(run: ShadowRun, study: str) -> StudyDifference:
    return StudyDifference(
        job=run.job_id,
        study=study,
        step=run.step,
        reason=run.reason,
        agreed=None if run.reason is not None else _agreed(run.agreement),
        agreement=run.agreement,
    )


def _agreed(one: Mapping[str, Any]) -> float | None:
    """Return the least of what says how far the two agree on one study."""
    shares = [*one["dice"].values()]
    if one["classes"]:
        shares.append(sum(pair[0] == pair[1] for pair in one["classes"]) / len(one["classes"]))
    if one["boxes"]:
        boxes = one["boxes"]
        shares.append(2 * boxes["same"] / (boxes["delivered"] + boxes["beside"]))
    return min(shares, default=None)


def _mean_dice(every: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    labels = sorted({label for one in every for label in one["dice"]})
    values = {
        label: [one["dice"][label] for one in every if label in one["dice"]] for label in labels
    }
    return {label: sum(found) / len(found) for label, found in values.items()}


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
