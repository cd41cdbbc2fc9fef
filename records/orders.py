"""What the holder of a job needs to know to carry it: one reading, plain values."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session, undefer

from records.tables import Analysis, Batch, File, Job, JobModel, ModelVersion, Series, Study


@dataclass(frozen=True, kw_only=True)
class BoundModel:
    """The model version that one step runs, as fixed when the job was planned."""

    id: uuid.UUID
    name: str
    version: str
    digest: str
    path: str


@dataclass(frozen=True, kw_only=True)
class SeriesRef:
    """One chosen series, or the part of it that was chosen, and its files below the source."""

    series_instance_uid: str
    part: int
    paths: tuple[str, ...]
    #: which of the parts that one multi-frame instance splits into; 0 where it is one
    frame_part: int = 0
    #: the strict verdict on it, and its sentence: what a policy let in is said in the report
    verdict: str = "ok"
    detail: str | None = None
    #: what the scan knows of its files, for their reader; None: nothing
    headers: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class JobOrder:
    """One job in full."""

    job_id: uuid.UUID
    created_at: datetime
    queue: str
    source: str
    study_instance_uid: str
    analysis: str
    analysis_version: str
    analysis_digest: str
    document: Mapping[str, Any]
    #: by step
    models: Mapping[str, BoundModel]
    #: by input, in the order chosen
    inputs: Mapping[str, tuple[SeriesRef, ...]]


def read(session: Session, job_id: uuid.UUID) -> JobOrder:
    """Return what to do. The job exists: somebody holds its lease."""
    query = (
        select(Job, Batch, Study, Analysis)
        .join(Batch, Batch.id == Job.batch_id)
        .join(Study, Study.id == Job.study_id)
        .join(Analysis, Analysis.id == Job.analysis_id)
        .where(Job.id == job_id)
    )
    job, batch, study, analysis = session.execute(query).one()
    return JobOrder(
        job_id=job.id,
        created_at=job.created_at,
        queue=job.queue,
        source=batch.source,
        study_instance_uid=study.study_instance_uid,
        analysis=analysis.name,
        analysis_version=analysis.version,
        analysis_digest=analysis.digest,
        document=analysis.document,
        models=_models(session, job.id),
        inputs=_inputs(session, study.id, job.plan),
    )


def _models(session: Session, job_id: uuid.UUID) -> dict[str, BoundModel]:
    rows = session.execute(
        select(JobModel.step, ModelVersion)
        .join(ModelVersion, ModelVersion.id == JobModel.model_version_id)
        .where(JobModel.job_id == job_id)
    )
    return {
        step: BoundModel(
            id=model.id,
            name=model.name,
            version=model.version,
            digest=model.digest,
            path=model.path,
        )
        for step, model in rows
    }


def _inputs(
    session: Session, study_id: uuid.UUID, plan: Mapping[str, Any]
) -> dict[str, tuple[SeriesRef, ...]]:
    """Return the files of every chosen series, by input."""
    chosen = {
        name: [(one["series_instance_uid"], one["part"]) for one in choice["chosen"]]
        for name, choice in plan["inputs"].items()
    }
    wanted = {key for keys in chosen.values() for key in keys}
    rows = session.scalars(
        select(Series)
        .where(
            Series.study_id == study_id,
            tuple_(Series.series_instance_uid, Series.part).in_(wanted),
        )
        .options(undefer(Series.headers))
    )
    refs = {(row.series_instance_uid, row.part): _ref(session, row) for row in rows}
    return {name: tuple(refs[key] for key in keys) for name, keys in chosen.items()}


def _ref(session: Session, series: Series) -> SeriesRef:
    """Return a series with its files. A multi-frame file is listed with its first part only."""
    frame_part = series.attributes.get("frame_part", 0)
    if frame_part:
        paths = (
            select(File.path)
            .join(Series, File.series_id == Series.id)
            .where(
                Series.study_id == series.study_id,
                Series.series_instance_uid == series.series_instance_uid,
                File.sop_instance_uid == series.attributes["sop_instance_uid"],
            )
        )
    else:
        paths = select(File.path).where(File.series_id == series.id).order_by(File.path)
    return SeriesRef(
        series_instance_uid=series.series_instance_uid,
        part=series.part,
        paths=tuple(session.scalars(paths)),
        frame_part=frame_part,
        verdict=series.verdict,
        detail=series.detail,
        headers=series.headers,
    )
