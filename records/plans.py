"""What a scan found and what was planned from it, written a chunk of studies at a time.

A scan that is begun again writes only what is not there: a study that has its row has its series,
files and jobs too, because they came in the same transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from records import history, leases
from records.base import Base, JobStatus
from records.database import now
from records.history import Change
from records.leases import Lease
from records.tables import Batch, File, Job, JobModel, Series, Study

_CHUNK: Final = 500  # UIDs in one statement


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannedFile:
    """One file of the source. ``path`` is relative to it; ``verdict`` is 'ok' or a reason code."""

    path: str
    size: int
    verdict: str
    detail: str | None = None
    sop_instance_uid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSeries:
    """One group of instances that can become one volume or one image."""

    series_instance_uid: str
    modality: str
    sop_class_uid: str
    verdict: str
    part: int = 0
    detail: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    #: a multi-frame file is listed with the first of the parts it splits into
    files: Sequence[ScannedFile] = ()
    #: how many instances it is made of, also where their files are listed with another part
    instances: int | None = None
    #: what a reader of its files need not parse again; opaque here
    headers: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedJob:
    """One analysis of one study. ``rejected``: reason code and sentence, refused unseen."""

    analysis_id: uuid.UUID
    plan: Mapping[str, Any]
    models: Mapping[str, uuid.UUID] = field(default_factory=dict)
    queue: str | None = None
    max_attempts: int = 3
    rejected: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStudy:
    """One study with everything that was found in it and planned for it."""

    study_instance_uid: str
    series: Sequence[PlannedSeries]
    jobs: Sequence[PlannedJob]


def record_studies(
    session: Session, lease: Lease, chunk: Sequence[PlannedStudy], files: Sequence[ScannedFile] = ()
) -> int:
    """Write these studies with series, files and jobs, and files that belong to none.

    Returns how many studies were new. The jobs may run before the scan is over.

    Raises:
        Fenced: the scan is no longer ours, or somebody canceled the batch.
    """
    leases.hold(session, lease)
    return write_studies(session, lease.id, chunk, files, by=lease.owner)


def write_studies(
    session: Session,
    batch_id: uuid.UUID,
    chunk: Sequence[PlannedStudy],
    files: Sequence[ScannedFile] = (),
    *,
    by: str,
) -> int:
    """Write studies into a batch that nobody else plans. Returns how many were new."""
    lane, queue = session.execute(select(Batch.lane, Batch.queue).where(Batch.id == batch_id)).one()
    rows = _Rows(_Into(batch_id=batch_id, lane=lane, queue=queue, by=by), now(session))
    for each in files:
        rows.add_file(each, None)
    known = _known(session, batch_id, [study.study_instance_uid for study in chunk])
    new = [study for study in chunk if study.study_instance_uid not in known]
    for study in new:
        rows.add_study(study)
    rows.write(session)
    return len(new)


@dataclass(frozen=True, kw_only=True)
class _Into:
    """The batch that rows are written into, and who writes them."""

    batch_id: uuid.UUID
    lane: str
    queue: str
    by: str


class _Rows:
    """The rows of one chunk, gathered so that each table is written in one statement."""

    def __init__(self, into: _Into, at: datetime) -> None:
        self._into, self._at = into, at
        self._studies: list[dict[str, Any]] = []
        self._series: list[dict[str, Any]] = []
        self._files: list[dict[str, Any]] = []
        self._jobs: list[dict[str, Any]] = []
        self._models: list[dict[str, Any]] = []
        self._changes: list[Change] = []

    def add_study(self, study: PlannedStudy) -> None:
        study_id = uuid.uuid4()
        self._studies.append(
            {
                "id": study_id,
                "batch_id": self._into.batch_id,
                "study_instance_uid": study.study_instance_uid,
            }
        )
        for series in study.series:
            self._add_series(series, study_id)
        for job in study.jobs:
            self._add_job(job, study_id)

    def add_file(self, file: ScannedFile, series_id: uuid.UUID | None) -> None:
        self._files.append(
            {
                "batch_id": self._into.batch_id,
                "series_id": series_id,
                "path": file.path,
                "size": file.size,
                "verdict": str(file.verdict),
                "detail": file.detail,
                "sop_instance_uid": file.sop_instance_uid,
            }
        )

    def _add_series(self, series: PlannedSeries, study_id: uuid.UUID) -> None:
        series_id = uuid.uuid4()
        self._series.append(
            {
                "id": series_id,
                "study_id": study_id,
                "series_instance_uid": series.series_instance_uid,
                "part": series.part,
                "modality": series.modality,
                "sop_class_uid": series.sop_class_uid,
                "instance_count": len(series.files)
                if series.instances is None
                else series.instances,
                "verdict": str(series.verdict),
                "detail": series.detail,
                "attributes": dict(series.attributes),
                "headers": series.headers,
            }
        )
        for file in series.files:
            self.add_file(file, series_id)

    def _add_job(self, job: PlannedJob, study_id: uuid.UUID) -> None:
        job_id = uuid.uuid4()
        reason, detail = job.rejected or (None, None)
        status = JobStatus.REJECTED if job.rejected else JobStatus.QUEUED
        self._jobs.append(
            {
                "id": job_id,
                "batch_id": self._into.batch_id,
                "study_id": study_id,
                "analysis_id": job.analysis_id,
                "status": status,
                "queue": job.queue or self._into.queue,
                "lane": self._into.lane,
                "max_attempts": job.max_attempts,
                "plan": dict(job.plan),
                "reason": None if reason is None else str(reason),
                "detail": detail,
                "created_at": self._at,
                "finished_at": self._at if job.rejected else None,
            }
        )
        self._models += [
            {"job_id": job_id, "step": step, "model_version_id": version}
            for step, version in job.models.items()
        ]
        self._changes.append(
            Change(
                job_id=job_id,
                before=None,
                after=status,
                attempt=0,
                by=self._into.by,
                reason=None if reason is None else str(reason),
                detail=detail,
            )
        )

    def write(self, session: Session) -> None:
        """Write every table once; the audit last."""
        _insert(session, Study, self._studies)
        _insert(session, Series, self._series)
        self._write_files(session)
        _insert(session, Job, self._jobs)
        _insert(session, JobModel, self._models)
        history.note(session, self._changes, self._at)
        rejected = [change for change in self._changes if change.after is JobStatus.REJECTED]
        history.attest(session, rejected)

    def _write_files(self, session: Session) -> None:
        """Write the files. One that an earlier scan met alone is given to its series now."""
        if not self._files:
            return
        dialect = session.get_bind().dialect.name
        add = postgresql.insert(File) if dialect == "postgresql" else sqlite.insert(File)
        found = add.excluded
        session.execute(
            add.on_conflict_do_update(
                index_elements=[File.batch_id, File.path],
                set_={
                    name: found[name]
                    for name in ("series_id", "size", "verdict", "detail", "sop_instance_uid")
                },
                where=found.series_id.is_not(None),
            ),
            self._files,
        )


def _insert(session: Session, table: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        session.execute(insert(table), rows)


def _known(session: Session, batch_id: uuid.UUID, uids: Sequence[str]) -> set[str]:
    """Return which of these studies the batch has already."""
    known: set[str] = set()
    for start in range(0, len(uids), _CHUNK):
        some = select(Study.study_instance_uid).where(
            Study.batch_id == batch_id,
            Study.study_instance_uid.in_(uids[start : start + _CHUNK]),
        )
        known.update(session.scalars(some))
    return known
