"""Whether what a job found still counts.

A model version is withdrawn when it is rolled back or recalled, and then nothing that it said is
in force. Of the jobs of one study and one analysis whose models are not withdrawn, the last one
that succeeded is in force; what was found before it is superseded. So a rollback puts the results
of the version before back in force by itself.
"""

from __future__ import annotations

import enum
import uuid
from collections.abc import Sequence

from sqlalchemy import ColumnElement, case, or_, select
from sqlalchemy.orm import Session, aliased

from records.base import JobStatus, Withdrawal
from records.tables import Analysis, Job, JobModel, ModelVersion, Study


class Standing(enum.StrEnum):
    """How the results of a job stand."""

    IN_FORCE = "in force"
    SUPERSEDED = "superseded"
    ROLLED_BACK = "rolled back"
    RECALLED = "recalled"


def standings(session: Session, job_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Standing]:
    """Return how the results of each of these jobs stand; as many as fit one statement."""
    query = select(Job.id, standing()).where(Job.id.in_(job_ids))
    return {job_id: Standing(stands) for job_id, stands in session.execute(query)}


def standing() -> ColumnElement[str]:
    """Return how the results of a job stand (a ``Standing``), for any statement about ``Job``."""
    return case(
        (_is_withdrawn(Job, Withdrawal.RECALLED), Standing.RECALLED.value),
        (_is_withdrawn(Job, *Withdrawal), Standing.ROLLED_BACK.value),
        (_is_superseded(), Standing.SUPERSEDED.value),
        else_=Standing.IN_FORCE.value,
    )


def _is_withdrawn(job: type[Job], *why: Withdrawal) -> ColumnElement[bool]:
    """Say whether a job is bound to a version that was withdrawn in one of these ways."""
    bound, version = aliased(JobModel), aliased(ModelVersion)
    return (
        select(bound.job_id)
        .join(version, version.id == bound.model_version_id)
        .where(bound.job_id == job.id, version.withdrawn.in_(why))
        .correlate(job)
        .exists()
    )


def _is_superseded() -> ColumnElement[bool]:
    """Say whether a later job of the same study and analysis replaced a job."""
    study, analysis = aliased(Study), aliased(Analysis)
    later, its_study, its_analysis = aliased(Job), aliased(Study), aliased(Analysis)
    is_later = or_(
        later.finished_at > Job.finished_at,
        (later.finished_at == Job.finished_at) & (later.id > Job.id),
    )
    return (
        select(later.id)
        .select_from(study)
        .join(analysis, analysis.id == Job.analysis_id)
        .join(its_study, its_study.study_instance_uid == study.study_instance_uid)
        .join(later, later.study_id == its_study.id)
        .join(its_analysis, its_analysis.id == later.analysis_id)
        .where(study.id == Job.study_id, its_analysis.name == analysis.name)
        .where(later.status == JobStatus.SUCCEEDED, is_later)
        .where(~_is_withdrawn(later, *Withdrawal))
        .correlate(Job)
        .exists()
    )
