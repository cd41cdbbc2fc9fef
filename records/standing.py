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

from sqlalchemy import Select, exists, or_, select
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
    found = dict.fromkeys(job_ids, Standing.IN_FORCE)
    found |= dict.fromkeys(session.scalars(_superseded(job_ids)), Standing.SUPERSEDED)
    withdrawn = (
        select(JobModel.job_id, ModelVersion.withdrawn)
        .join(ModelVersion, ModelVersion.id == JobModel.model_version_id)
        .where(JobModel.job_id.in_(job_ids), ModelVersion.withdrawn.is_not(None))
    )
    for job_id, why in session.execute(withdrawn):
        if found[job_id] is not Standing.RECALLED:
            is_recalled = why is Withdrawal.RECALLED
            found[job_id] = Standing.RECALLED if is_recalled else Standing.ROLLED_BACK
    return found


def _superseded(job_ids: Sequence[uuid.UUID]) -> Select[uuid.UUID]:
    """Select those of the jobs that a later one of the same study and analysis replaced."""
    later, its_study, its_analysis = aliased(Job), aliased(Study), aliased(Analysis)
    is_withdrawn = (
        exists()
        .where(JobModel.job_id == later.id, JobModel.model_version_id == ModelVersion.id)
        .where(ModelVersion.withdrawn.is_not(None))
    )
    is_later = or_(
        later.finished_at > Job.finished_at,
        (later.finished_at == Job.finished_at) & (later.id > Job.id),
    )
    return (
        select(Job.id)
        .join(Study, Study.id == Job.study_id)
        .join(Analysis, Analysis.id == Job.analysis_id)
        .join(its_study, its_study.study_instance_uid == Study.study_instance_uid)
        .join(later, later.study_id == its_study.id)
        .join(its_analysis, its_analysis.id == later.analysis_id)
        .where(Job.id.in_(job_ids), its_analysis.name == Analysis.name)
        .where(later.status == JobStatus.SUCCEEDED, is_later, ~is_withdrawn)
        .distinct()
    )
