"""Every table of Nightshift. Queries stand beside their noun: ``records.jobs`` and so on.

Relationships are not mapped: each query names the rows it needs.
"""

from __future__ import annotations

import uuid

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from records.base import (
    Base,
    BatchStatus,
    Count,
    Digest,
    JobStatus,
    Json,
    JsonList,
    Key,
    Name,
    Reason,
    Sentence,
    Serial,
    Stage,
    Time,
    TrainingStatus,
    Uid,
    status_column,
)


class Leased:
    """What a row carries that one worker at a time may hold: a lease and a fencing token."""

    attempt: Mapped[int] = mapped_column(default=0, comment="counted when the row is claimed")
    token: Mapped[int] = mapped_column(default=0, comment="fencing token; grows with every claim")
    owner: Mapped[Name | None] = mapped_column(comment="host:pid:nonce of the holder")
    lease_until: Mapped[Time | None] = mapped_column(comment="by the clock of the database")
    not_before: Mapped[Time | None] = mapped_column(comment="earliest next claim, for back-off")
    published_at: Mapped[Time | None] = mapped_column(comment="last wake-up sent to the broker")
    publish_count: Mapped[int] = mapped_column(default=0)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    lane: Mapped[Name] = mapped_column(
        default="shared", comment="which broker wakes it: 'shared', or the id of one embedded run"
    )


class Batch(Leased, Base):
    """One request to run analyses over a source. Its lease is held while it is scanned."""

    __tablename__ = "batches"

    id: Mapped[Key]
    status: Mapped[BatchStatus] = mapped_column(
        status_column(BatchStatus), default=BatchStatus.SCANNING
    )
    source: Mapped[Sentence] = mapped_column(comment="folder, archive or URL as given")
    out: Mapped[Sentence | None] = mapped_column(comment="where `run --out` leaves its files")
    analyses: Mapped[JsonList] = mapped_column(comment="analysis names, optionally name@version")
    options: Mapped[Json] = mapped_column(default=dict, comment="dry_run, limits ...")
    queue: Mapped[Name] = mapped_column(default="infer.routine")
    idempotency_key: Mapped[Name | None] = mapped_column(unique=True)
    request_digest: Mapped[Digest | None]
    created_by: Mapped[Name]
    created_at: Mapped[Time]
    planned_at: Mapped[Time | None] = mapped_column(comment="when the last job row was written")
    finished_at: Mapped[Time | None]
    reason: Mapped[Reason | None]
    detail: Mapped[Sentence | None]
    progress: Mapped[Json] = mapped_column(default=dict, comment="files_seen, files_total ...")
    __table_args__ = (Index(None, "status"), Index(None, "created_at"))


class File(Base):
    """One file of a source and the verdict on it."""

    __tablename__ = "files"

    id: Mapped[Serial]
    batch_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("batches.id", ondelete="CASCADE"))
    series_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("series.id"), index=True)
    path: Mapped[Sentence] = mapped_column(comment="relative to the source")
    size: Mapped[Count] = mapped_column(comment="bytes")
    verdict: Mapped[Reason] = mapped_column(comment="'ok' or a reason code")
    detail: Mapped[Sentence | None]
    sop_instance_uid: Mapped[Uid | None]
    __table_args__ = (UniqueConstraint("batch_id", "path"),)


class Study(Base):
    """One study of one batch."""

    __tablename__ = "studies"

    id: Mapped[Key]
    batch_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("batches.id", ondelete="CASCADE"))
    study_instance_uid: Mapped[Uid]
    __table_args__ = (UniqueConstraint("batch_id", "study_instance_uid"),)


class Series(Base):
    """One group of instances that can become one volume or one image.

    A DICOM series splits into several groups when orientation, size, spacing or phase differ.
    """

    __tablename__ = "series"

    id: Mapped[Key]
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id", ondelete="CASCADE"))
    series_instance_uid: Mapped[Uid]
    part: Mapped[int] = mapped_column(default=0, comment="0, 1 ... where one series was split")
    modality: Mapped[str] = mapped_column(String(16))
    sop_class_uid: Mapped[Uid]
    instance_count: Mapped[int]
    verdict: Mapped[Reason] = mapped_column(comment="'ok' or a reason code")
    detail: Mapped[Sentence | None]
    attributes: Mapped[Json] = mapped_column(
        comment="what selection rules may ask; no patient data"
    )
    headers: Mapped[bytes | None] = mapped_column(
        LargeBinary,
        deferred=True,
        comment="facts of its files, so that a read need not parse them; no patient data",
    )
    __table_args__ = (UniqueConstraint("study_id", "series_instance_uid", "part"),)


class Analysis(Base):
    """A named, versioned YAML document, immutable once stored."""

    __tablename__ = "analyses"

    id: Mapped[Key]
    name: Mapped[Name]
    version: Mapped[str] = mapped_column(String(32))
    digest: Mapped[Digest]
    document: Mapped[Json]
    created_at: Mapped[Time]
    __table_args__ = (UniqueConstraint("name", "version"),)


class ModelVersion(Base):
    """An immutable registered bundle. At most one version of a name is active."""

    __tablename__ = "model_versions"

    id: Mapped[Key]
    name: Mapped[Name]
    version: Mapped[str] = mapped_column(String(32))
    digest: Mapped[Digest]
    kind: Mapped[str] = mapped_column(String(32))
    stage: Mapped[Stage] = mapped_column(status_column(Stage), default=Stage.CANDIDATE)
    path: Mapped[Sentence] = mapped_column(comment="folder of the bundle in the store")
    bundle_metadata: Mapped[Json] = mapped_column(comment="configs/metadata.json as registered")
    metrics: Mapped[Json] = mapped_column(default=dict, comment="on the held-out part")
    training_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("trainings.id"))
    previous_id: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("model_versions.id"),
        comment="active when this one was promoted: where a rollback returns",
    )
    created_at: Mapped[Time]
    __table_args__ = (
        UniqueConstraint("name", "version"),
        Index(
            "uq_model_versions_one_active",
            "name",
            unique=True,
            sqlite_where=text("stage = 'active'"),
            postgresql_where=text("stage = 'active'"),
        ),
    )


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


class Training(Leased, Base):
    """One run of a recipe on a manifest. Its only product is a bundle."""

    __tablename__ = "trainings"

    id: Mapped[Key]
    status: Mapped[TrainingStatus] = mapped_column(
        status_column(TrainingStatus), default=TrainingStatus.QUEUED
    )
    recipe: Mapped[Json]
    recipe_digest: Mapped[Digest]
    manifest: Mapped[Sentence] = mapped_column(comment="path as given")
    snapshot_digest: Mapped[Digest | None] = mapped_column(comment="of the cases it really used")
    max_attempts: Mapped[int] = mapped_column(default=3)
    schedule_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("schedules.id"))
    idempotency_key: Mapped[Name | None] = mapped_column(unique=True)
    request_digest: Mapped[Digest | None]
    created_by: Mapped[Name]
    created_at: Mapped[Time]
    started_at: Mapped[Time | None]
    finished_at: Mapped[Time | None]
    progress: Mapped[Json] = mapped_column(default=dict, comment="epoch, epochs, loss, metric ...")
    metrics: Mapped[Json] = mapped_column(default=dict, comment="on the held-out part")
    reason: Mapped[Reason | None]
    detail: Mapped[Sentence | None]
    __table_args__ = (Index(None, "status"), Index(None, "created_at"))


class Schedule(Base):
    """A cron line that makes trainings. Beat reads it; nothing else remembers it."""

    __tablename__ = "schedules"

    id: Mapped[Key]
    name: Mapped[Name] = mapped_column(unique=True)
    cron: Mapped[str] = mapped_column(String(64), comment="five fields, UTC")
    recipe: Mapped[Json]
    manifest: Mapped[Sentence]
    enabled: Mapped[bool] = mapped_column(default=True)
    created_by: Mapped[Name]
    created_at: Mapped[Time]


class ScheduleRun(Base):
    """One slot of one schedule. The primary key is why two beats never run a slot twice."""

    __tablename__ = "schedule_runs"

    schedule_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("schedules.id", ondelete="CASCADE"), primary_key=True
    )
    slot: Mapped[Time] = mapped_column(primary_key=True)
    training_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("trainings.id"))


class ApiKey(Base):
    """A key for the HTTP API; only its hash is kept."""

    __tablename__ = "api_keys"

    id: Mapped[Key]
    name: Mapped[Name] = mapped_column(unique=True)
    prefix: Mapped[str] = mapped_column(String(16), unique=True, comment="shown, to find the row")
    key_hash: Mapped[Digest] = mapped_column(comment="SHA-256 of a 256-bit random key")
    roles: Mapped[JsonList]
    created_at: Mapped[Time]
    revoked_at: Mapped[Time | None]


class KeptAnswer(Base):
    """The answer to a POST that carried an Idempotency-Key, to be given again."""

    __tablename__ = "kept_answers"

    caller: Mapped[Name] = mapped_column(primary_key=True, comment="name of the API key")
    idempotency_key: Mapped[Name] = mapped_column(primary_key=True)
    request_digest: Mapped[Digest] = mapped_column(comment="of method, path and body")
    status: Mapped[int]
    body: Mapped[Json]
    created_at: Mapped[Time] = mapped_column(index=True)


class AuditRecord(Base):
    """Append-only, hash-chained statement of who did what to which object (PS3.15 A.5 words)."""

    __tablename__ = "audit_records"

    sequence: Mapped[Serial] = mapped_column(autoincrement=False, comment="1, 2, 3 ...")
    event_id: Mapped[Name] = mapped_column(comment="e.g. job.succeeded, model.promoted")
    event_action_code: Mapped[str] = mapped_column(String(1), comment="C R U D E")
    event_date_time: Mapped[Time]
    event_outcome_indicator: Mapped[int] = mapped_column(comment="0 4 8 12")
    active_participant: Mapped[Name] = mapped_column(comment="who: key name, user or worker")
    participant_object_type: Mapped[Name]
    participant_object_id: Mapped[str] = mapped_column(String(128))
    detail: Mapped[Json] = mapped_column(default=dict)
    previous_hash: Mapped[Digest]
    hash: Mapped[Digest] = mapped_column(unique=True)
    __table_args__ = (
        CheckConstraint("event_action_code IN ('C','R','U','D','E')", name="action_code"),
        CheckConstraint("event_outcome_indicator IN (0, 4, 8, 12)", name="outcome_indicator"),
        Index(None, "participant_object_type", "participant_object_id"),
    )


class AuditHead(Base):
    """The end of the audit chain: how many records there are and the hash of the last one.

    One row. It is locked while records are appended, and it shows when the tail was cut off.
    """

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    count: Mapped[Count]
    hash: Mapped[Digest]
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)


__all__ = [
    "Analysis",
    "ApiKey",
    "Artifact",
    "Attempt",
    "AuditHead",
    "AuditRecord",
    "Base",
    "Batch",
    "File",
    "Job",
    "JobEvent",
    "JobModel",
    "KeptAnswer",
    "Leased",
    "ModelVersion",
    "Result",
    "Schedule",
    "ScheduleRun",
    "Series",
    "Study",
    "Training",
]
