"""What comes back from use: what readers correct, and how the images drift."""

import uuid
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from records.base import Base, Json, Key, Name, Serial, Time, Uid


class Correction(Base):
    """What a reader says of the answer of one step about one series. The latest one counts."""

    __tablename__ = "corrections"

    id: Mapped[Serial]
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    step: Mapped[str] = mapped_column(String(64))
    series_instance_uid: Mapped[Uid]
    verdict: Mapped[str] = mapped_column(String(16))
    label: Mapped[Name | None]
    boxes: Mapped[list[Any] | None] = mapped_column(
        JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql"),
        comment="centre and size in mm (LPS)",
    )
    mask: Mapped[bytes | None] = mapped_column(
        LargeBinary, deferred=True, comment="a file, by its own form"
    )
    mask_form: Mapped[str | None] = mapped_column(String(16))
    created_by: Mapped[Name]
    created_at: Mapped[Time]


class DriftReport(Base):
    """What one look at the drift of an analysis found."""

    __tablename__ = "drift_reports"

    id: Mapped[Key]
    analysis: Mapped[Name]
    version: Mapped[str] = mapped_column(String(32), comment="of the analysis")
    drifted: Mapped[bool]
    document: Mapped[Json] = mapped_column(comment="windows, tests, shares")
    created_at: Mapped[Time]
    __table_args__ = (Index(None, "analysis", "created_at"),)
