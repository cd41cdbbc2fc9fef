"""Running the studies of a recalled version again, by the versions that are active now.

A rerun is a batch that waits to be planned, like any other; what plans it writes the studies of
the batch before it again and scans nothing. So it is held under a lease, goes on where a lost
worker left it, and is planned as a whole or failed.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, Row, func, select
from sqlalchemy.orm import Session, undefer

from records import audit, batches, models, plans
from records.base import JobStatus
from records.batches import NewBatch
from records.leases import Lease
from records.models import ModelVersionMissing
from records.plans import PlannedJob, PlannedSeries, PlannedStudy, ScannedFile
from records.tables import Batch, File, Job, JobModel, ModelVersion, Series, Study

#: in the options of a batch: the batch whose studies it runs again, and the version they had
_OF: Final = "rerun_of"
_VERSION: Final = "rerun_version"
_Job: TypeAlias = Row[uuid.UUID, uuid.UUID, uuid.UUID, dict[str, Any], str, int]


@dataclass(frozen=True, kw_only=True)
class Rerun:
    """What a batch runs again: the jobs of another one that succeeded with a version."""

    batch_id: uuid.UUID
    version_id: uuid.UUID


def rerun(
    session: Session, name: str, version: str, *, by: str, lane: str = "shared"
) -> list[uuid.UUID]:
    """Ask for every job that succeeded with a version once more; return the new batches.

    There is one for each batch it was used in. Nothing is scanned again: series and files are as
    they were planned then, and a source that has gone since is told of by its jobs.

    Raises:
        ModelVersionMissing: it is not registered, or a model has no active version to run instead.

    """
    row = models.get(session, name, version)
    _require_active(session, row)
    query = select(Job.batch_id, func.count().label("jobs")).where(_succeeded_with(row.id))
    used = session.execute(query.group_by(Job.batch_id).order_by(Job.batch_id)).all()
    made = [_batch_again(session, one.batch_id, row, by, lane) for one in used]
    audit.append(
        session,
        event_id="model.rerun",
        action="E",
        by=by,
        object_type="model_version",
        object_id=f"{name}@{version}",
        detail={"jobs": sum(one.jobs for one in used), "batches": [str(one) for one in made]},
    )
    return made


def asked(batch: Batch) -> Rerun | None:
    """Return what a batch runs again, or None where it is to be scanned."""
    if _VERSION not in batch.options:
        return None
    return Rerun(
        batch_id=uuid.UUID(batch.options[_OF]), version_id=uuid.UUID(batch.options[_VERSION])
    )


def studies(session: Session, again: Rerun) -> Sequence[Row[uuid.UUID, int]]:
    """Return the id of each study to run again, and of how many instances it is."""
    theirs = select(Job.study_id).where(_is_again(again))
    query = (
        select(Study.id, func.coalesce(func.sum(Series.instance_count), 0).label("instances"))
        .outerjoin(Series, Series.study_id == Study.id)
        .where(Study.id.in_(theirs))
        .group_by(Study.id)
        .order_by(Study.id)
    )
    return session.execute(query).all()


def record_studies(
    session: Session, lease: Lease, again: Rerun, study_ids: Sequence[uuid.UUID]
) -> int:
    """Write these studies into the batch of the lease; return how many were new.

    Raises:
        Fenced: the batch is no longer ours, or somebody canceled it.
        ModelVersionMissing: a model has no active version to run instead.

    """
    jobs = session.execute(
        select(Job.id, Job.study_id, Job.analysis_id, Job.plan, Job.queue, Job.max_attempts)
        .where(Job.study_id.in_(study_ids), _is_again(again))
        .order_by(Job.id)
    ).all()
    bound = _active(session, [job.id for job in jobs])
    by_study: dict[uuid.UUID, list[PlannedJob]] = {}
    for job in jobs:
        by_study.setdefault(job.study_id, []).append(_job(job, bound[job.id]))
    planned = [_study(session, study, by_study[study]) for study in study_ids]
    return plans.record_studies(session, lease, planned)


def _batch_again(
    session: Session, batch_id: uuid.UUID, row: ModelVersion, by: str, lane: str
) -> uuid.UUID:
    """Make a batch that waits until its studies are written: it cannot close before."""
    before = session.get_one(Batch, batch_id)
    new = NewBatch(
        source=before.source,
        analyses=before.analyses,
        options={_OF: str(batch_id), _VERSION: str(row.id)},
        queue=before.queue,
        lane=lane,
    )
    return batches.create(session, new, by=by).id


def _succeeded_with(version_id: uuid.UUID) -> ColumnElement[bool]:
    bound = select(JobModel.job_id).where(JobModel.model_version_id == version_id)
    return Job.id.in_(bound) & (Job.status == JobStatus.SUCCEEDED)


def _is_again(again: Rerun) -> ColumnElement[bool]:
    return (Job.batch_id == again.batch_id) & _succeeded_with(again.version_id)


def _require_active(session: Session, row: ModelVersion) -> None:
    """Refuse to begin what could not be planned.

    Raises:
        ModelVersionMissing: a model of its jobs has no active version.

    """
    theirs = select(Job.id).where(_succeeded_with(row.id))
    names = (
        select(ModelVersion.name)
        .join(JobModel, JobModel.model_version_id == ModelVersion.id)
        .where(JobModel.job_id.in_(theirs))
        .distinct()
        .order_by(ModelVersion.name)
    )
    for name in session.scalars(names).all():
        _active_of(session, name)


def _active_of(session: Session, name: str) -> uuid.UUID:
    active = models.active(session, name)
    if active is None:
        sentence = f"{name} has no active version to run the studies again with"
        raise ModelVersionMissing(sentence)
    return active.id


def _active(
    session: Session, job_ids: Sequence[uuid.UUID]
) -> Mapping[uuid.UUID, Mapping[str, uuid.UUID]]:
    """Return for each job and step the active version of the model that it was bound to."""
    rows = session.execute(
        select(JobModel.job_id, JobModel.step, ModelVersion.name)
        .join(ModelVersion, ModelVersion.id == JobModel.model_version_id)
        .where(JobModel.job_id.in_(job_ids))
    ).all()
    active = {name: _active_of(session, name) for name in {row.name for row in rows}}
    found: dict[uuid.UUID, dict[str, uuid.UUID]] = {job_id: {} for job_id in job_ids}
    for row in rows:
        found[row.job_id][row.step] = active[row.name]
    return found


def _study(session: Session, study_id: uuid.UUID, jobs: Sequence[PlannedJob]) -> PlannedStudy:
    study = session.get_one(Study, study_id)
    series = session.scalars(
        select(Series).where(Series.study_id == study_id).options(undefer(Series.headers))
    )
    return PlannedStudy(
        study_instance_uid=study.study_instance_uid,
        series=[_series(session, one) for one in series],
        jobs=jobs,
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


def _job(row: _Job, active: Mapping[str, uuid.UUID]) -> PlannedJob:
    return PlannedJob(
        analysis_id=row.analysis_id,
        plan=row.plan,
        models=active,
        queue=row.queue,
        max_attempts=row.max_attempts,
    )
