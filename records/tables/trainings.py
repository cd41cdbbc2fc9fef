"""The trainings and what starts them."""

import uuid

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from records.base import (
    Base,
    Count,
    Digest,
    Json,
    Key,
    Name,
    Reason,
    Sentence,
    Time,
    TrainingStatus,
    status_column,
)
from records.tables.leased import Leased


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
    pause_requested: Mapped[bool] = mapped_column(default=False)
    corrections_of: Mapped[Name | None] = mapped_column(
        comment="the analysis whose corrections join its manifest"
    )
    corrections_up_to: Mapped[Count | None] = mapped_column(comment="the last of them that counts")
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
    """What makes trainings: a cron line, new corrections or a drift. Beat reads it."""

    __tablename__ = "schedules"

    id: Mapped[Key]
    name: Mapped[Name] = mapped_column(unique=True)
    cron: Mapped[str | None] = mapped_column(String(64), comment="five fields, UTC")
    new_cases: Mapped[int | None] = mapped_column(
        comment="trains when so many corrections have come"
    )
    on_drift: Mapped[bool] = mapped_column(default=False, comment="trains when a drift was found")
    analysis: Mapped[Name | None] = mapped_column(
        comment="whose corrections join the manifest, and whose drift counts"
    )
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
