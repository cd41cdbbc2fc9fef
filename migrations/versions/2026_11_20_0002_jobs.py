"""The queue: jobs, their history and what they found."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TABLES = (
    "jobs",
    "job_models",
    "attempts",
    "job_events",
    "results",
    "artifacts",
)


def upgrade() -> None:
    _create_jobs()
    _create_history()
    _create_results()


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("analysis_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("queue", sa.String(120), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column(
            "plan", JSON, nullable=False, comment="series chosen per input, and why not the others"
        ),
        sa.Column("reason", sa.String(64), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("report", JSON, nullable=True, comment="the run report, as in job.json"),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column(
            "attempt", sa.Integer(), nullable=False, comment="counted when the row is claimed"
        ),
        sa.Column(
            "token", sa.Integer(), nullable=False, comment="fencing token; grows with every claim"
        ),
        sa.Column("owner", sa.String(120), nullable=True, comment="host:pid:nonce of the holder"),
        sa.Column("lease_until", TIME, nullable=True, comment="by the clock of the database"),
        sa.Column("not_before", TIME, nullable=True, comment="earliest next claim, for back-off"),
        sa.Column("published_at", TIME, nullable=True, comment="last wake-up sent to the broker"),
        sa.Column("publish_count", sa.Integer(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column(
            "lane",
            sa.String(120),
            nullable=False,
            comment="which broker wakes it: 'shared', or the id of one embedded run",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.ForeignKeyConstraint(
            ["analysis_id"], ["analyses.id"], name=op.f("fk_jobs_analysis_id_analyses")
        ),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_jobs_batch_id_batches"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.id"], name=op.f("fk_jobs_study_id_studies"), ondelete="CASCADE"
        ),
        sa.UniqueConstraint("study_id", "analysis_id", name=op.f("uq_jobs_study_id_analysis_id")),
    )
    op.create_index(op.f("ix_jobs_batch_id_status"), "jobs", ["batch_id", "status"])
    op.create_index(op.f("ix_jobs_lease"), "jobs", ["status", "lease_until"])
    op.create_index(
        op.f("ix_jobs_wake"), "jobs", ["lane", "status", "published_at", "queue", "created_at"]
    )
    op.create_table(
        "job_models",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.String(64), nullable=False),
        sa.Column("model_version_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "step", name=op.f("pk_job_models")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_job_models_job_id_jobs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["model_versions.id"],
            name=op.f("fk_job_models_model_version_id_model_versions"),
        ),
    )


def _create_history() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", BIG, nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(120), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("ended_at", TIME, nullable=True),
        sa.Column(
            "outcome",
            sa.String(16),
            nullable=True,
            comment="a job status, 'retried', 'lost' or 'released'",
        ),
        sa.Column("reason", sa.String(64), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_attempts_job_id_jobs"), ondelete="CASCADE"
        ),
        sa.UniqueConstraint("job_id", "token", name=op.f("uq_attempts_job_id_token")),
    )
    op.create_table(
        "job_events",
        sa.Column("id", BIG, nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("from_status", sa.String(16), nullable=True),
        sa.Column("to_status", sa.String(16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(64), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_events")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_job_events_job_id_jobs"), ondelete="CASCADE"
        ),
    )
    op.create_index(op.f("ix_job_events_job_id"), "job_events", ["job_id"])


def _create_results() -> None:
    op.create_table(
        "results",
        sa.Column("id", BIG, nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.String(64), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False, comment="0, 1 ... within the step"),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("label", sa.String(120), nullable=False),
        sa.Column("code", sa.String(64), nullable=True, comment="scheme:value, e.g. SCT:39607008"),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("unit", sa.String(16), nullable=True, comment="UCUM"),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("series_instance_uid", sa.String(64), nullable=True),
        sa.Column("model_version_id", sa.Uuid(), nullable=False),
        sa.Column("payload", JSON, nullable=False, comment="box, centroid ... in mm (LPS)"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_results")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_results_job_id_jobs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["model_versions.id"],
            name=op.f("fk_results_model_version_id_model_versions"),
        ),
        sa.UniqueConstraint(
            "job_id", "step", "ordinal", name=op.f("uq_results_job_id_step_ordinal")
        ),
    )
    op.create_table(
        "artifacts",
        sa.Column("id", BIG, nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column(
            "name", sa.String(120), nullable=False, comment="file name inside the job's folder"
        ),
        sa.Column("kind", sa.String(32), nullable=False, comment="dicom-seg, overlay, ..."),
        sa.Column("media_type", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size", BIG, nullable=False, comment="bytes"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_artifacts")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_artifacts_job_id_jobs"), ondelete="CASCADE"
        ),
        sa.UniqueConstraint("job_id", "name", name=op.f("uq_artifacts_job_id_name")),
    )
    op.create_index(op.f("ix_artifacts_sha256"), "artifacts", ["sha256"])
