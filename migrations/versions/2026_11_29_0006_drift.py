"""Corrections, drift, schedules that wait for them, and trainings that can be paused."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _widen_schedules()
    _widen_trainings()
    _create_corrections()
    _create_drift_reports()


def downgrade() -> None:
    op.drop_table("drift_reports")
    op.drop_table("corrections")
    op.execute("DELETE FROM schedules WHERE cron IS NULL")
    with op.batch_alter_table("schedules") as table:
        table.alter_column("cron", existing_type=sa.String(64), nullable=False)
        for name in ("analysis", "on_drift", "new_cases"):
            table.drop_column(name)
    with op.batch_alter_table("trainings") as table:
        for name in ("corrections_up_to", "corrections_of", "pause_requested"):
            table.drop_column(name)


def _widen_schedules() -> None:
    with op.batch_alter_table("schedules") as table:
        table.alter_column("cron", existing_type=sa.String(64), nullable=True)
        table.add_column(
            sa.Column(
                "new_cases",
                sa.Integer(),
                nullable=True,
                comment="trains when so many corrections have come",
            )
        )
        table.add_column(
            sa.Column(
                "on_drift",
                sa.Boolean(),
                nullable=False,
                server_default=sa.false(),
                comment="trains when a drift was found",
            )
        )
        table.add_column(
            sa.Column(
                "analysis",
                sa.String(120),
                nullable=True,
                comment="whose corrections join the manifest, and whose drift counts",
            )
        )


def _widen_trainings() -> None:
    with op.batch_alter_table("trainings") as table:
        table.add_column(
            sa.Column("pause_requested", sa.Boolean(), nullable=False, server_default=sa.false())
        )
        table.add_column(
            sa.Column(
                "corrections_of",
                sa.String(120),
                nullable=True,
                comment="the analysis whose corrections join its manifest",
            )
        )
        table.add_column(
            sa.Column(
                "corrections_up_to", BIG, nullable=True, comment="the last of them that counts"
            )
        )


def _create_corrections() -> None:
    op.create_table(
        "corrections",
        sa.Column("id", BIG, nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.String(64), nullable=False),
        sa.Column("series_instance_uid", sa.String(64), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("label", sa.String(120), nullable=True),
        sa.Column("boxes", JSON, nullable=True, comment="centre and size in mm (LPS)"),
        sa.Column("mask", sa.LargeBinary(), nullable=True, comment="a file, by its own form"),
        sa.Column("mask_form", sa.String(16), nullable=True),
        sa.Column("created_by", sa.String(120), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_corrections")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_corrections_job_id_jobs"), ondelete="CASCADE"
        ),
    )
    op.create_index(op.f("ix_corrections_job_id"), "corrections", ["job_id"])


def _create_drift_reports() -> None:
    op.create_table(
        "drift_reports",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("analysis", sa.String(120), nullable=False),
        sa.Column("version", sa.String(32), nullable=False, comment="of the analysis"),
        sa.Column("drifted", sa.Boolean(), nullable=False),
        sa.Column("document", JSON, nullable=False, comment="windows, tests, shares"),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drift_reports")),
    )
    op.create_index(
        op.f("ix_drift_reports_analysis_created_at"), "drift_reports", ["analysis", "created_at"]
    )
