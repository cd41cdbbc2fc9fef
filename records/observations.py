"""The windows that drift is looked for in: what is known of the jobs of one analysis.

Jobs are comparable under one version of the analysis and the same versions of its models, so a
promotion begins anew. The reference window is the first jobs of these, or those that ended in a
stated time; the current one the latest that are not of the reference.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import Session

from records.base import JobStatus
from records.tables import Analysis, Job, JobModel, ModelVersion, Result, Series

#: under the 999 parameters of old SQLite builds
_AT_ONCE: Final = 500


@dataclass(frozen=True, kw_only=True)
class Window:
    """How windows are chosen."""

    #: jobs of each, at the most
    size: int = 200
    #: the reference is what ended between these; None = the first jobs
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What is known of one job: no patient data."""

    ended: datetime
    attributes: Mapping[str, Any]
    intensity: Mapping[str, float]
    results: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Both windows of an analysis, oldest job first, and what they are of."""

    analysis: str
    version: str
    #: by step, as name@version
    models: Mapping[str, str]
    reference: tuple[Observed, ...]
    current: tuple[Observed, ...]


def analyses(session: Session) -> list[str]:
    """Return the names of all analyses that have answered."""
    answered = select(Job.id).where(
        Job.analysis_id == Analysis.id, Job.status == JobStatus.SUCCEEDED
    )
    query = select(Analysis.name).where(answered.exists()).distinct().order_by(Analysis.name)
    return list(session.scalars(query))


def last_ended(session: Session, analysis: str) -> datetime | None:
    """Return when the last job of an analysis ended well, or None."""
    latest = Job.finished_at.desc()
    query = select(Job.finished_at).where(_has_answered(analysis)).order_by(latest).limit(1)
    return session.scalars(query).one_or_none()


def windows(session: Session, analysis: str, window: Window) -> Windows | None:
    """Return the windows of an analysis, or None where it has never answered."""
    last = _last(session, analysis)
    if last is None:
        return None
    bound = _models(session, last.id)
    alike = _alike(last, {step: version.id for step, version in bound.items()})
    reference, current = _split(session, alike, window)
    version = session.get_one(Analysis, last.analysis_id).version
    return Windows(
        analysis=analysis,
        version=version,
        models={step: f"{one.name}@{one.version}" for step, one in sorted(bound.items())},
        reference=_observed(session, reference),
        current=_observed(session, current),
    )


def _last(session: Session, analysis: str) -> Job | None:
    """Return the job that was bound to its versions last: older ones may end after it."""
    newest = (Job.created_at.desc(), Job.finished_at.desc(), Job.id)
    query = select(Job).where(_has_answered(analysis)).order_by(*newest).limit(1)
    return session.scalars(query).one_or_none()


def _has_answered(analysis: str) -> ColumnElement[bool]:
    versions = select(Analysis.id).where(Analysis.name == analysis)
    return Job.analysis_id.in_(versions) & (Job.status == JobStatus.SUCCEEDED)


def _models(session: Session, job_id: uuid.UUID) -> dict[str, ModelVersion]:
    query = (
        select(JobModel.step, ModelVersion)
        .join(ModelVersion, ModelVersion.id == JobModel.model_version_id)
        .where(JobModel.job_id == job_id)
    )
    return {row.step: row.ModelVersion for row in session.execute(query)}


def _alike(last: Job, bound: Mapping[str, uuid.UUID]) -> Select[Job]:
    query = select(Job).where(
        Job.analysis_id == last.analysis_id, Job.status == JobStatus.SUCCEEDED
    )
    for step, model_version_id in bound.items():
        same = select(JobModel.job_id).where(
            JobModel.job_id == Job.id,
            JobModel.step == step,
            JobModel.model_version_id == model_version_id,
        )
        query = query.where(same.exists())
    return query


def _split(session: Session, alike: Select[Job], window: Window) -> tuple[list[Job], list[Job]]:
    """Return reference and current jobs, each from the oldest on."""
    oldest, newest = (Job.finished_at, Job.id), (Job.finished_at.desc(), Job.id.desc())
    first = alike.order_by(*oldest).limit(window.size)
    if window.since is not None:
        first = first.where(Job.finished_at >= window.since)
    if window.until is not None:
        first = first.where(Job.finished_at < window.until)
    reference = list(session.scalars(first))
    if not reference:
        return [], []
    end = (reference[-1].finished_at, reference[-1].id)
    latest = session.scalars(alike.order_by(*newest).limit(window.size))
    current = [job for job in latest if (job.finished_at, job.id) > end]
    return reference, current[::-1]


def _observed(session: Session, jobs: Sequence[Job]) -> tuple[Observed, ...]:
    chosen = {job.id: place for job in jobs if (place := _first_series(job)) is not None}
    attributes: dict[tuple[uuid.UUID, str, int], Mapping[str, Any]] = {}
    results: dict[uuid.UUID, list[Mapping[str, Any]]] = defaultdict(list)
    for start in range(0, len(jobs), _AT_ONCE):
        some = jobs[start : start + _AT_ONCE]
        series = select(Series).where(Series.study_id.in_([job.study_id for job in some]))
        for row in session.scalars(series):
            attributes[row.study_id, row.series_instance_uid, row.part] = row.attributes
        said = select(Result).where(Result.job_id.in_([job.id for job in some]))
        for result in session.scalars(said.order_by(Result.id)):
            results[result.job_id].append(_statement(result))
    return tuple(
        Observed(
            ended=job.finished_at or job.created_at,
            attributes=attributes.get((job.study_id, *chosen[job.id][1:]), {}),
            intensity=_intensity(job, chosen[job.id][0]),
            results=results[job.id],
        )
        for job in jobs
        if job.id in chosen
    )


def _first_series(job: Job) -> tuple[str, str, int] | None:
    """Return input, series and part of the first series that the job was about."""
    for name, choice in job.plan.get("inputs", {}).items():
        for one in choice.get("chosen", ()):
            return name, one["series_instance_uid"], one["part"]
    return None


def _intensity(job: Job, name: str) -> Mapping[str, float]:
    """Return what was kept of the values of the first series; older jobs have nothing."""
    first: Mapping[str, Any] = next(iter((job.report or {}).get("inputs", {}).get(name, ())), {})
    found: Mapping[str, float] = first.get("intensity", {})
    return found


def _statement(result: Result) -> Mapping[str, Any]:
    return {
        "step": result.step,
        "kind": result.kind,
        "label": result.label,
        "value": result.value,
        "score": result.score,
        "is_top": result.payload.get("is_top", False),
    }
