"""Every table of Nightshift. Queries stand beside their noun: ``records.jobs`` and so on.

Relationships are not mapped: each query names the rows it needs. No module here postpones its
annotations: SQLAlchemy reads them at every start, and would compile each one from its string.
"""

from records.base import Base
from records.tables.catalogue import Analysis, ModelVersion
from records.tables.doors import ApiKey, AuditHead, AuditRecord, KeptAnswer
from records.tables.feedback import Correction, DriftReport
from records.tables.gates import Gate, ShadowRun, Snapshot
from records.tables.jobs import Artifact, Attempt, Job, JobEvent, JobModel, Result
from records.tables.leased import Leased
from records.tables.sources import Batch, File, Series, Study
from records.tables.trainings import Schedule, ScheduleRun, Training

__all__ = [
    "Analysis",
    "ApiKey",
    "Artifact",
    "Attempt",
    "AuditHead",
    "AuditRecord",
    "Base",
    "Batch",
    "Correction",
    "DriftReport",
    "File",
    "Gate",
    "Job",
    "JobEvent",
    "JobModel",
    "KeptAnswer",
    "Leased",
    "ModelVersion",
    "Result",
    "Schedule",
    "ScheduleRun",
    "Series",
    "ShadowRun",
    "Snapshot",
    "Study",
    "Training",
]
