"""The read side: typed rows and cursor pages, as the HTTP API and the command line show them.

Every function takes a session and returns frozen dataclasses that outlive it. A listing costs a
fixed number of queries whatever its length. Nothing here returns the path of a file of a source.
"""

from records.listing.batch_rows import (
    BatchDetail,
    BatchSummary,
    Progress,
    batch,
    batches,
    progress,
)
from records.listing.catalogue import (
    AnalysisDetail,
    AnalysisSummary,
    ModelDetail,
    ModelSummary,
    analyses,
    analysis,
    model,
    models,
)
from records.listing.feedback_rows import CorrectionRow, DriftRow, correction_row, drift
from records.listing.gate_rows import GateRow, SnapshotRow, gates, snapshot, snapshots
from records.listing.job_rows import (
    ArtifactRow,
    AttemptRow,
    BoundModel,
    EventRow,
    Explanation,
    JobDetail,
    JobSummary,
    artifact,
    artifacts,
    explain,
    job,
    jobs,
)
from records.listing.lineage_rows import LineageDetail, lineage_of
from records.listing.numbers import Stats, stats
from records.listing.paging import MAX_PAGE, BadCursor, Page
from records.listing.results import COLUMNS, ResultRow, ordered_jobs, result_rows, results_of
from records.listing.trail import AuditRow, audit_records
from records.listing.training_rows import (
    ScheduleRow,
    TrainingDetail,
    TrainingSummary,
    ended_trainings,
    schedule_row,
    schedules,
    training,
    trainings,
)

__all__ = [
    "COLUMNS",
    "MAX_PAGE",
    "AnalysisDetail",
    "AnalysisSummary",
    "ArtifactRow",
    "AttemptRow",
    "AuditRow",
    "BadCursor",
    "BatchDetail",
    "BatchSummary",
    "BoundModel",
    "CorrectionRow",
    "DriftRow",
    "EventRow",
    "Explanation",
    "GateRow",
    "JobDetail",
    "JobSummary",
    "LineageDetail",
    "ModelDetail",
    "ModelSummary",
    "Page",
    "Progress",
    "ResultRow",
    "ScheduleRow",
    "SnapshotRow",
    "Stats",
    "TrainingDetail",
    "TrainingSummary",
    "analyses",
    "analysis",
    "artifact",
    "artifacts",
    "audit_records",
    "batch",
    "batches",
    "correction_row",
    "drift",
    "ended_trainings",
    "explain",
    "gates",
    "job",
    "jobs",
    "lineage_of",
    "model",
    "models",
    "ordered_jobs",
    "progress",
    "result_rows",
    "results_of",
    "schedule_row",
    "schedules",
    "snapshot",
    "snapshots",
    "stats",
    "training",
    "trainings",
]
