"""What may be run: analyses and models."""

import uuid

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from records.base import (
    Base,
    Digest,
    Json,
    Key,
    Name,
    Sentence,
    Stage,
    Time,
    Withdrawal,
    status_column,
)


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
    withdrawn: Mapped[Withdrawal | None] = mapped_column(
        status_column(Withdrawal),
        comment="'rolled back' or 'recalled': its results are not in force",
    )
    is_shadow: Mapped[bool] = mapped_column(
        default=False,
        server_default=false(),
        comment="runs beside the active version; nothing of it is delivered",
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
