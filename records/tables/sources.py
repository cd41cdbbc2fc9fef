"""The requests, and what was found in their sources."""

import uuid

from sqlalchemy import ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from records.base import (
    Base,
    BatchStatus,
    Count,
    Digest,
    Json,
    JsonList,
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
    study_instance_uid: Mapped[Uid] = mapped_column(index=True)
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
