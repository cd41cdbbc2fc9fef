"""Running the studies of a recalled version again, by the versions that are active now."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from records import audit, models
from records.base import BatchStatus, JobStatus
from records.database import now
from records.models import ModelVersionMissing
from records.plans import PlannedJob, PlannedSeries, PlannedStudy, ScannedFile, write_studies
from records.tables import Batch, File, Job, JobModel, ModelVersion, Series, Study

#: studies that are written at a time
_CHUNK = 200


def rerun(
    session: Session, name: str, version: str, *, by: str, lane: str = "shared"
) -> list[uuid.UUID]:
    """Queue again every job that succeeded with a version; return the new batches.

    There is one for each batch it was used in. Nothing is scanned again: series and files are as
    they were planned then, and a source that has gone since is told of by its jobs.

    Raises:
        ModelVersionMissing: it is not registered, or a model has no active version to run instead.

    """
    row = models.get(session, name, version)
    jobs = session.scalars(
        select(Job)
        .join(JobModel, JobModel.job_id == Job.id)
        .where(JobModel.model_version_id == row.id, Job.status == JobStatus.SUCCEEDED)
        .order_by(Job.batch_id, Job.id)
        .distinct()
    ).all()
    made = [
        _batch_again(session, batch_id, [job for job in jobs if job.batch_id == batch_id], by, lane)
        for batch_id in dict.fromkeys(job.batch_id for job in jobs)
    ]
    audit.append(
        session,
        event_id="model.rerun",
        action="E",
        by=by,
        object_type="model_version",
        object_id=f"{name}@{version}",
        detail={"jobs": len(jobs), "batches": [str(one) for one in made]},
    )
    return made


def _batch_again(
    session: Session, batch_id: uuid.UUID, jobs: Sequence[Job], by: str, lane: str
) -> uuid.UUID:
    """Make a batch, planned already, of some jobs of another one."""
    before, at = session.get_one(Batch, batch_id), now(session)
    batch = Batch(
        id=uuid.uuid4(),
        status=BatchStatus.RUNNING,
        source=before.source,
        analyses=before.analyses,
        options={"rerun_of": str(batch_id)},
        queue=before.queue,
        lane=lane,
        created_by=by,
        created_at=at,
        planned_at=at,
    )
    session.add(batch)
    session.flush()
    by_study: dict[uuid.UUID, list[Job]] = {}
    for job in jobs:
        by_study.setdefault(job.study_id, []).append(job)
    studies = list(by_study)
    for start in range(0, len(studies), _CHUNK):
        chunk = studies[start : start + _CHUNK]
        planned = [_study(session, study, by_study[study]) for study in chunk]
        write_studies(session, batch.id, planned, by=by)
    return batch.id


def _study(session: Session, study_id: uuid.UUID, jobs: Sequence[Job]) -> PlannedStudy:
    study = session.get_one(Study, study_id)
    series = session.scalars(
        select(Series).where(Series.study_id == study_id).options(undefer(Series.headers))
    )
    return PlannedStudy(
        study_instance_uid=study.study_instance_uid,
        series=[_series(session, one) for one in series],
        jobs=[_job(session, job) for job in jobs],
    )


def _series(session: Session, row: Series) -> PlannedSeries:
    files = session.scalars(select(File).where(File.series_id == row.id).order_by(File.path))
    return PlannedSeries(
        series_instance_uid=row.series_instance_uid,
        modality=row.modality,
        sop_class_uid=row.sop_class_uid,
        verdict=row.verdict,
        part=row.part,
        detail=row.detail,
        attributes=row.attributes,
        files=[
            ScannedFile(
                path=one.path,
                size=one.size,
                verdict=one.verdict,
                detail=one.detail,
                sop_instance_uid=one.sop_instance_uid,
            )
            for one in files
        ],
        instances=row.instance_count,
        headers=row.headers,
    )


def _job(session: Session, row: Job) -> PlannedJob:
    return PlannedJob(
        analysis_id=row.analysis_id,
        plan=row.plan,
        models=dict(_active(session, row.id)),
        queue=row.queue,
        max_attempts=row.max_attempts,
    )


def _active(session: Session, job_id: uuid.UUID) -> Iterator[tuple[str, uuid.UUID]]:
    """Yield for each step the version that is active now of the model that it was bound to."""
    bound = (
        select(JobModel.step, ModelVersion.name)
        .join(ModelVersion, ModelVersion.id == JobModel.model_version_id)
        .where(JobModel.job_id == job_id)
    )
    for step, name in session.execute(bound).all():
        active = models.active(session, name)
        if active is None:
            sentence = f"{name} has no active version to run the studies again with"
            raise ModelVersionMissing(sentence)
        yield step, active.id
