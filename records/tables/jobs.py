"""The jobs, their attempts, and what came of them."""

import uuid

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from records.base import (
    Base,
    Count,
    Digest,
    JobStatus,
    Json,
    Key,
    Name,
    Reason,
    Sentence,
    Serial,
    Time,
    Uid,
    status_column,
)
from records.tables.leased import Leased


class Job(Leased, Base):
    """One study x one analysis version in a batch: the unit of queueing."""

    __tablename__ = "jobs"

    id: Mapped[Key]
    batch_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("batches.id", ondelete="CASCADE"))
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    analysis_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("analyses.id"))
    status: Mapped[JobStatus] = mapped_column(status_column(JobStatus), default=JobStatus.QUEUED)
    queue: Mapped[Name] = mapped_column(default="infer.routine")
    max_attempts: Mapped[int] = mapped_column(default=3)
    plan: Mapped[Json] = mapped_column(comment="series chosen per input, and why not the others")
    reason: Mapped[Reason | None]
    detail: Mapped[Sentence | None]
    report: Mapped[Json | None] = mapped_column(comment="the run report, as in job.json")
    created_at: Mapped[Time]
    started_at: Mapped[Time | None]
    finished_at: Mapped[Time | None]
    __table_args__ = (
        UniqueConstraint("study_id", "analysis_id"),
        Index(None, "batch_id", "status"),
        Index("ix_jobs_wake", "lane", "status", "published_at", "queue", "created_at"),
        Index("ix_jobs_lease", "status", "lease_until"),
    )


class JobModel(Base):
    """The model version that one step of one job is bound to, fixed when the job is planned."""

    __tablename__ = "job_models"

    job_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True
    )
    step: Mapped[str] = mapped_column(String(64), primary_key=True)
    model_version_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("model_versions.id"))


class Attempt(Base):
    """One try of a job by one worker under one lease. Kept whatever happens."""

    __tablename__ = "attempts"

    id: Mapped[Serial]
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    number: Mapped[int]
    token: Mapped[int]
    owner: Mapped[Name]
    started_at: Mapped[Time]
    ended_at: Mapped[Time | None]
    outcome: Mapped[str | None] = mapped_column(
        String(16), comment="a job status, 'retried', 'lost' or 'released'"
    )
    reason: Mapped[Reason | None]
    detail: Mapped[Sentence | None]
    __table_args__ = (UniqueConstraint("job_id", "token"),)


class JobEvent(Base):
    """A status change of a job, written in the transaction that made it."""

    __tablename__ = "job_events"

    id: Mapped[Serial]
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    at: Mapped[Time]
    from_status: Mapped[str | None] = mapped_column(String(16))
    to_status: Mapped[str] = mapped_column(String(16))
    attempt: Mapped[int]
    reason: Mapped[Reason | None]
    detail: Mapped[Sentence | None]


class Result(Base):
    """One statement of a job: classification, segment, detection, measurement, derived image."""

    __tablename__ = "results"

    id: Mapped[Serial]
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    step: Mapped[str] = mapped_column(String(64))
    ordinal: Mapped[int] = mapped_column(comment="0, 1 ... within the step")
    kind: Mapped[str] = mapped_column(String(32))
    label: Mapped[Name]
    code: Mapped[str | None] = mapped_column(String(64), comment="scheme:value, e.g. SCT:39607008")
    value: Mapped[float | None]
    unit: Mapped[str | None] = mapped_column(String(16), comment="UCUM")
    score: Mapped[float | None]
    series_instance_uid: Mapped[Uid | None]
    model_version_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("model_versions.id"))
    payload: Mapped[Json] = mapped_column(default=dict, comment="box, centroid ... in mm (LPS)")
    __table_args__ = (UniqueConstraint("job_id", "step", "ordinal"),)


class Artifact(Base):
    """A file that a job wrote, addressed in the store by its digest."""

    __tablename__ = "artifacts"

    id: Mapped[Serial]
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    name: Mapped[Name] = mapped_column(comment="file name inside the job's folder")
    kind: Mapped[str] = mapped_column(String(32), comment="dicom-seg, overlay, ...")
    media_type: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[Digest] = mapped_column(index=True)
    size: Mapped[Count] = mapped_column(comment="bytes")
    __table_args__ = (UniqueConstraint("job_id", "name"),)
