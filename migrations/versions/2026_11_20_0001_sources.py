"""The catalogue, the requests and their sources."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TABLES = (
    "analyses",
    "schedules",
    "trainings",
    "model_versions",
    "schedule_runs",
    "batches",
    "studies",
    "series",
    "files",
)


def upgrade() -> None:
    _create_catalogue()
    _create_models()
    _create_batches()
    _create_sources()


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


def _create_catalogue() -> None:
    op.create_table(
        "analyses",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("document", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analyses")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_analyses_name_version")),
    )
    op.create_table(
        "schedules",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("cron", sa.String(64), nullable=False, comment="five fields, UTC"),
        sa.Column("recipe", JSON, nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_by", sa.String(120), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedules")),
        sa.UniqueConstraint("name", name=op.f("uq_schedules_name")),
    )
    op.create_table(
        "trainings",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("recipe", JSON, nullable=False),
        sa.Column("recipe_digest", sa.String(64), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False, comment="path as given"),
        sa.Column(
            "snapshot_digest", sa.String(64), nullable=True, comment="of the cases it really used"
        ),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("schedule_id", sa.Uuid(), nullable=True),
        sa.Column("idempotency_key", sa.String(120), nullable=True),
        sa.Column("request_digest", sa.String(64), nullable=True),
        sa.Column("created_by", sa.String(120), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("progress", JSON, nullable=False, comment="epoch, epochs, loss, metric ..."),
        sa.Column("metrics", JSON, nullable=False, comment="on the held-out part"),
        sa.Column("reason", sa.String(64), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
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
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trainings")),
        sa.ForeignKeyConstraint(
            ["schedule_id"], ["schedules.id"], name=op.f("fk_trainings_schedule_id_schedules")
        ),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_trainings_idempotency_key")),
    )
    op.create_index(op.f("ix_trainings_created_at"), "trainings", ["created_at"])
    op.create_index(op.f("ix_trainings_status"), "trainings", ["status"])


def _create_models() -> None:
    op.create_table(
        "model_versions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("path", sa.Text(), nullable=False, comment="folder of the bundle in the store"),
        sa.Column(
            "bundle_metadata", JSON, nullable=False, comment="configs/metadata.json as registered"
        ),
        sa.Column("metrics", JSON, nullable=False, comment="on the held-out part"),
        sa.Column("training_id", sa.Uuid(), nullable=True),
        sa.Column(
            "previous_id",
            sa.Uuid(),
            nullable=True,
            comment="active when this one was promoted: where a rollback returns",
        ),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_versions")),
        sa.ForeignKeyConstraint(
            ["previous_id"],
            ["model_versions.id"],
            name=op.f("fk_model_versions_previous_id_model_versions"),
        ),
        sa.ForeignKeyConstraint(
            ["training_id"], ["trainings.id"], name=op.f("fk_model_versions_training_id_trainings")
        ),
        sa.UniqueConstraint("name", "version", name=op.f("uq_model_versions_name_version")),
    )
    op.create_index(
        op.f("uq_model_versions_one_active"),
        "model_versions",
        ["name"],
        unique=True,
        sqlite_where=sa.text("stage = 'active'"),
        postgresql_where=sa.text("stage = 'active'"),
    )
    op.create_table(
        "schedule_runs",
        sa.Column("schedule_id", sa.Uuid(), nullable=False),
        sa.Column("slot", TIME, nullable=False),
        sa.Column("training_id", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("schedule_id", "slot", name=op.f("pk_schedule_runs")),
        sa.ForeignKeyConstraint(
            ["schedule_id"],
            ["schedules.id"],
            name=op.f("fk_schedule_runs_schedule_id_schedules"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["training_id"], ["trainings.id"], name=op.f("fk_schedule_runs_training_id_trainings")
        ),
    )


def _create_batches() -> None:
    op.create_table(
        "batches",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("source", sa.Text(), nullable=False, comment="folder, archive or URL as given"),
        sa.Column("out", sa.Text(), nullable=True, comment="where `run --out` leaves its files"),
        sa.Column(
            "analyses", JSON, nullable=False, comment="analysis names, optionally name@version"
        ),
        sa.Column("options", JSON, nullable=False, comment="dry_run, limits ..."),
        sa.Column("queue", sa.String(120), nullable=False),
        sa.Column("idempotency_key", sa.String(120), nullable=True),
        sa.Column("request_digest", sa.String(64), nullable=True),
        sa.Column("created_by", sa.String(120), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("planned_at", TIME, nullable=True, comment="when the last job row was written"),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("reason", sa.String(64), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("progress", JSON, nullable=False, comment="files_seen, files_total ..."),
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
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_batches_idempotency_key")),
    )
    op.create_index(op.f("ix_batches_created_at"), "batches", ["created_at"])
    op.create_index(op.f("ix_batches_status"), "batches", ["status"])


def _create_sources() -> None:
    op.create_table(
        "studies",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("study_instance_uid", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studies")),
        sa.ForeignKeyConstraint(
            ["batch_id"],
            ["batches.id"],
            name=op.f("fk_studies_batch_id_batches"),
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint(
            "batch_id", "study_instance_uid", name=op.f("uq_studies_batch_id_study_instance_uid")
        ),
    )
    op.create_table(
        "series",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("study_id", sa.Uuid(), nullable=False),
        sa.Column("series_instance_uid", sa.String(64), nullable=False),
        sa.Column(
            "part", sa.Integer(), nullable=False, comment="0, 1 ... where one series was split"
        ),
        sa.Column("modality", sa.String(16), nullable=False),
        sa.Column("sop_class_uid", sa.String(64), nullable=False),
        sa.Column("instance_count", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.String(64), nullable=False, comment="'ok' or a reason code"),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column(
            "attributes",
            JSON,
            nullable=False,
            comment="what selection rules may ask; no patient data",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_series")),
        sa.ForeignKeyConstraint(
            ["study_id"],
            ["studies.id"],
            name=op.f("fk_series_study_id_studies"),
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint(
            "study_id",
            "series_instance_uid",
            "part",
            name=op.f("uq_series_study_id_series_instance_uid_part"),
        ),
    )
    op.create_table(
        "files",
        sa.Column("id", BIG, nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=False),
        sa.Column("series_id", sa.Uuid(), nullable=True),
        sa.Column("path", sa.Text(), nullable=False, comment="relative to the source"),
        sa.Column("size", BIG, nullable=False, comment="bytes"),
        sa.Column("verdict", sa.String(64), nullable=False, comment="'ok' or a reason code"),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("sop_instance_uid", sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_files")),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_files_batch_id_batches"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["series_id"], ["series.id"], name=op.f("fk_files_series_id_series")
        ),
        sa.UniqueConstraint("batch_id", "path", name=op.f("uq_files_batch_id_path")),
    )
    op.create_index(op.f("ix_files_series_id"), "files", ["series_id"])
