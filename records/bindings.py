"""The model versions that jobs are bound to: fixed by the plan, until one of them is recalled."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy import Row, select, update
from sqlalchemy.orm import Session

from records import audit, models
from records.base import Withdrawal
from records.tables import JobModel, ModelVersion

_CHUNK: Final = 500  # ids in one statement
_Step: TypeAlias = Row[uuid.UUID, str, str, str]


def rebind(session: Session, job_ids: Sequence[uuid.UUID], *, by: str) -> dict[uuid.UUID, str]:
    """Bind what jobs would run of recalled versions to the versions that are active now.

    The caller has locked the jobs, and none of them has an answer. Returns those that no active
    version stands in for, each with a sentence that says so; they are bound as they were.
    """
    recalled = list(_recalled(session, job_ids))
    active = {name: models.active(session, name) for name in {row.name for row in recalled}}
    values: list[dict[str, Any]] = []
    said: list[audit.Statement] = []
    without: dict[uuid.UUID, str] = {}
    for row in recalled:
        instead = active[row.name]
        if instead is None:
            without[row.job_id] = without_any(row.name, row.version)
            continue
        values.append({"job_id": row.job_id, "step": row.step, "model_version_id": instead.id})
        said.append(_rebound(row, instead, by))
    if values:
        session.execute(update(JobModel), values)
        audit.append_all(session, said)
    return without


def without_any(name: str, version: str) -> str:
    """Return why a job does not run."""
    return f"{name} {version} was recalled, and no version of {name} is active."


def _recalled(session: Session, job_ids: Sequence[uuid.UUID]) -> Iterator[_Step]:
    """Yield each step of these jobs that is bound to a recalled version, with that version."""
    for start in range(0, len(job_ids), _CHUNK):
        yield from session.execute(
            select(JobModel.job_id, JobModel.step, ModelVersion.name, ModelVersion.version)
            .join(ModelVersion, ModelVersion.id == JobModel.model_version_id)
            .where(
                JobModel.job_id.in_(job_ids[start : start + _CHUNK]),
                ModelVersion.withdrawn == Withdrawal.RECALLED,
            )
            .order_by(JobModel.job_id, JobModel.step)
        )


def _rebound(row: _Step, instead: ModelVersion, by: str) -> audit.Statement:
    return audit.Statement(
        event_id="job.rebound",
        action="U",
        by=by,
        object_type="job",
        object_id=str(row.job_id),
        detail={
            "step": row.step,
            "model": row.name,
            "from": row.version,
            "to": instead.version,
        },
    )
