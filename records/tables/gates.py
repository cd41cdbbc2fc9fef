"""What candidates were trained on and judged by, and what they do beside the active version."""

import uuid

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from records.base import (
    Base,
    Digest,
    GateDecision,
    Json,
    JsonList,
    Key,
    Reason,
    Sentence,
    Serial,
    Time,
    status_column,
)


class Snapshot(Base):
    """The frozen cases that one or more trainings used."""

    __tablename__ = "snapshots"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    counts: Mapped[Json] = mapped_column(comment="cases by part")
    sha256: Mapped[Digest] = mapped_column(
        comment="of the list of cases in the store: digests, pseudonyms, parts"
    )
    created_at: Mapped[Time]


class Gate(Base):
    """One judgement of a candidate against the version that was active then. Never changed."""

    __tablename__ = "gates"

    id: Mapped[Key]
    model_version_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("model_versions.id"))
    active_id: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("model_versions.id"), comment="what it was held against; none = nothing was"
    )
    decision: Mapped[GateDecision] = mapped_column(status_column(GateDecision))
    sentence: Mapped[Sentence]
    statement: Mapped[Json] = mapped_column(comment="rule, verdict, digests of all it came from")
    page: Mapped[Digest] = mapped_column(comment="sha256 of the page to look at, in the store")
    created_at: Mapped[Time]
    __table_args__ = (Index(None, "model_version_id", "created_at"),)


class ShadowRun(Base):
    """What a candidate said of a study beside the active version. Never delivered."""

    __tablename__ = "shadow_runs"

    id: Mapped[Serial]
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    step: Mapped[str] = mapped_column(String(64))
    model_version_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("model_versions.id"), index=True)
    reason: Mapped[Reason | None] = mapped_column(comment="why it has no answer")
    results: Mapped[JsonList] = mapped_column(comment="as results are, for comparison alone")
    agreement: Mapped[Json] = mapped_column(comment="with what was delivered")
    seconds: Mapped[float]
    created_at: Mapped[Time]
    __table_args__ = (UniqueConstraint("job_id", "step", "model_version_id"),)
