"""The keys of the doors, what was answered there, and the audit chain."""

from sqlalchemy import CheckConstraint, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from records.base import Base, Count, Digest, Json, JsonList, Key, Name, Serial, Time


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
