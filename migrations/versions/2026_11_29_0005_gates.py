"""Snapshots, gates and shadow runs; versions that are withdrawn; studies found by their UID."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("model_versions") as table:
        table.add_column(
            sa.Column(
                "withdrawn",
                sa.String(16),
                nullable=True,
                comment="'rolled back' or 'recalled': its results are not in force",
            )
        )
        table.add_column(
            sa.Column(
                "is_shadow",
                sa.Boolean(),
                nullable=False,
                server_default=sa.false(),
                comment="runs beside the active version; nothing of it is delivered",
            )
        )
    op.create_index(op.f("ix_studies_study_instance_uid"), "studies", ["study_instance_uid"])
    _create_snapshots()
    _create_gates()
    _create_shadow_runs()


def downgrade() -> None:
    for name in ("shadow_runs", "gates", "snapshots"):
        op.drop_table(name)
    op.drop_index(op.f("ix_studies_study_instance_uid"), "studies")
    with op.batch_alter_table("model_versions") as table:
        table.drop_column("is_shadow")
        table.drop_column("withdrawn")


def _create_snapshots() -> None:
    op.create_table(
        "snapshots",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("counts", JSON, nullable=False, comment="cases by part"),
        sa.Column(
            "sha256",
            sa.String(64),
            nullable=False,
            comment="of the list of cases in the store: digests, pseudonyms, parts",
        ),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_snapshots")),
    )


def _create_gates() -> None:
    op.create_table(
        "gates",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("model_version_id", sa.Uuid(), nullable=False),
        sa.Column(
            "active_id",
            sa.Uuid(),
            nullable=True,
            comment="what it was held against; none = nothing was",
        ),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column(
            "statement", JSON, nullable=False, comment="rule, verdict, digests of all it came from"
        ),
        sa.Column(
            "page",
            sa.String(64),
            nullable=False,
            comment="sha256 of the page to look at, in the store",
        ),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["active_id"],
            ["model_versions.id"],
            name=op.f("fk_gates_active_id_model_versions"),
        ),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["model_versions.id"],
            name=op.f("fk_gates_model_version_id_model_versions"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gates")),
    )
    op.create_index(
        op.f("ix_gates_model_version_id_created_at"), "gates", ["model_version_id", "created_at"]
    )


def _create_shadow_runs() -> None:
    op.create_table(
        "shadow_runs",
        sa.Column("id", BIG, nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.String(64), nullable=False),
        sa.Column("model_version_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.String(64), nullable=True, comment="why it has no answer"),
        sa.Column("results", JSON, nullable=False, comment="as results are, for comparison alone"),
        sa.Column("agreement", JSON, nullable=False, comment="with what was delivered"),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_shadow_runs_job_id_jobs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["model_version_id"],
            ["model_versions.id"],
            name=op.f("fk_shadow_runs_model_version_id_model_versions"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shadow_runs")),
        sa.UniqueConstraint(
            "job_id",
            "step",
            "model_version_id",
            name=op.f("uq_shadow_runs_job_id_step_model_version_id"),
        ),
    )
    op.create_index(op.f("ix_shadow_runs_model_version_id"), "shadow_runs", ["model_version_id"])
