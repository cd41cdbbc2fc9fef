"""Which status may follow which. Literal tables, and the errors of those who try otherwise."""

from __future__ import annotations

import enum
import uuid
from typing import Final

from records.base import BatchStatus, JobStatus, Stage, TrainingStatus

JOB: Final = frozenset(
    {
        (JobStatus.QUEUED, JobStatus.RUNNING),  # claimed
        (JobStatus.QUEUED, JobStatus.CANCELED),
        (JobStatus.RUNNING, JobStatus.QUEUED),  # retried, released, or its worker was lost
        (JobStatus.RUNNING, JobStatus.SUCCEEDED),
        (JobStatus.RUNNING, JobStatus.REJECTED),
        (JobStatus.RUNNING, JobStatus.FAILED),
        (JobStatus.RUNNING, JobStatus.CANCELED),
        (JobStatus.REJECTED, JobStatus.QUEUED),  # a person asked for another try
        (JobStatus.FAILED, JobStatus.QUEUED),
        (JobStatus.CANCELED, JobStatus.QUEUED),
    }
)
TRAINING: Final = frozenset(
    {
        (TrainingStatus.QUEUED, TrainingStatus.RUNNING),
        (TrainingStatus.QUEUED, TrainingStatus.CANCELED),
        (TrainingStatus.RUNNING, TrainingStatus.QUEUED),
        (TrainingStatus.QUEUED, TrainingStatus.PAUSED),
        (TrainingStatus.RUNNING, TrainingStatus.PAUSED),
        (TrainingStatus.PAUSED, TrainingStatus.QUEUED),  # resumed
        (TrainingStatus.PAUSED, TrainingStatus.CANCELED),
        (TrainingStatus.RUNNING, TrainingStatus.SUCCEEDED),
        (TrainingStatus.RUNNING, TrainingStatus.REJECTED),
        (TrainingStatus.RUNNING, TrainingStatus.FAILED),
        (TrainingStatus.RUNNING, TrainingStatus.CANCELED),
    }
)
BATCH: Final = frozenset(
    {
        (BatchStatus.SCANNING, BatchStatus.RUNNING),  # planned, or canceled before it was
        (BatchStatus.SCANNING, BatchStatus.FAILED),
        (BatchStatus.RUNNING, BatchStatus.FINISHED),
        (BatchStatus.RUNNING, BatchStatus.CANCELED),
        (BatchStatus.FINISHED, BatchStatus.RUNNING),  # some of its jobs are tried again
        (BatchStatus.CANCELED, BatchStatus.RUNNING),
        (BatchStatus.CANCELED, BatchStatus.SCANNING),  # it was canceled before it was planned
        (BatchStatus.FAILED, BatchStatus.SCANNING),
    }
)
STAGE: Final = frozenset(
    {
        (Stage.CANDIDATE, Stage.ACTIVE),  # promoted
        (Stage.CANDIDATE, Stage.RETIRED),
        (Stage.ACTIVE, Stage.RETIRED),
        (Stage.RETIRED, Stage.ACTIVE),  # rolled back
    }
)
TABLES: Final = {
    JobStatus: JOB,
    TrainingStatus: TRAINING,
    BatchStatus: BATCH,
    Stage: STAGE,
}

JOB_ENDS: Final = (
    JobStatus.SUCCEEDED,
    JobStatus.REJECTED,
    JobStatus.FAILED,
    JobStatus.CANCELED,
)
BATCH_ENDS: Final = (BatchStatus.FINISHED, BatchStatus.FAILED, BatchStatus.CANCELED)


class IllegalTransition(Exception):
    """A status was asked for that cannot follow the one the row has."""

    def __init__(self, kind: str, row: uuid.UUID, current: enum.StrEnum, wanted: str) -> None:
        super().__init__(f"{kind} {row} is {current}; it cannot become {wanted}")
        self.current = current
        self.wanted = wanted


class NoSuchRecord(LookupError):
    """No row has that id."""

    def __init__(self, kind: str, row: uuid.UUID) -> None:
        super().__init__(f"there is no {kind} {row}")


def is_legal(before: enum.StrEnum, after: enum.StrEnum) -> bool:
    """Whether ``after`` may follow ``before``; staying is not a transition."""
    return (before, after) in TABLES[type(before)]
