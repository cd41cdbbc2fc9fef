"""What a scan knows of the files of a series, kept for the reads that follow."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "series",
        sa.Column(
            "headers",
            sa.LargeBinary(),
            nullable=True,
            comment="facts of its files, so that a read need not parse them; no patient data",
        ),
    )


def downgrade() -> None:
    op.drop_column("series", "headers")
