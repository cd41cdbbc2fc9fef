"""The declarative base, the column types and the status words of every table."""

from __future__ import annotations

import enum
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Enum,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time, stored and returned in UTC. SQLite drops time zones; this puts it back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times, convert the rest to UTC."""
        del dialect
        if value is None:
            return None
        if value.tzinfo is None:
            message = "a naive time cannot be stored; pass a time zone"
            raise ValueError(message)
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return an aware time in UTC."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class BatchStatus(enum.StrEnum):
    """Where a batch is. ``scanning`` covers scan and plan; jobs may already run meanwhile."""

    SCANNING = "scanning"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELED = "canceled"


class JobStatus(enum.StrEnum):
    """Where a job is. Every accepted study ends in exactly one of the last four."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELED = "canceled"


class TrainingStatus(enum.StrEnum):
    """Where a training is. ``paused`` keeps its checkpoint and holds no device."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELED = "canceled"


class Stage(enum.StrEnum):
    """Where a model version is in its life."""

    CANDIDATE = "candidate"
    ACTIVE = "active"
    RETIRED = "retired"


class Withdrawal(enum.StrEnum):
    """Why the results of a model version are not in force."""

    ROLLED_BACK = "rolled back"
    RECALLED = "recalled"


class GateDecision(enum.StrEnum):
    """What a gate said of a candidate."""

    PROMOTE = "promote"
    REFUSE = "refuse"
    CANNOT_DECIDE = "cannot decide"


def status_column(kind: type[enum.StrEnum]) -> Enum:
    """Return a string column type that stores the values, not the names, of ``kind``."""
    return Enum(kind, native_enum=False, length=16, values_callable=lambda e: [m.value for m in e])


Json = Annotated[dict[str, Any], mapped_column(JSON().with_variant(JSONB(), "postgresql"))]
JsonList = Annotated[list[Any], mapped_column(JSON().with_variant(JSONB(), "postgresql"))]
# 64 bits everywhere; SQLite's INTEGER is 64 bits wide and the only type it counts up by itself.
BigInt = BigInteger().with_variant(Integer(), "sqlite")
Serial = Annotated[int, mapped_column(BigInt, primary_key=True)]
Count = Annotated[int, mapped_column(BigInt)]
Key = Annotated[uuid.UUID, mapped_column(Uuid(), primary_key=True, default=uuid.uuid4)]
Uid = Annotated[str, mapped_column(String(64))]
Name = Annotated[str, mapped_column(String(120))]
Digest = Annotated[str, mapped_column(String(64))]
Reason = Annotated[str, mapped_column(String(64))]
Sentence = Annotated[str, mapped_column(Text())]
Time = Annotated[datetime, mapped_column(UtcDateTime())]


class Base(DeclarativeBase):
    """Base of all records. Constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
