"""The keys of the doors, and the audit chain with the triggers that keep it as it was written."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TABLES = (
    "api_keys",
    "kept_answers",
    "audit_records",
    "audit_head",
)


def upgrade() -> None:
    _create_keys()
    _create_audit()
    head = sa.table("audit_head", sa.column("id"), sa.column("count"), sa.column("hash"))
    op.execute(head.insert().values(id=1, count=0, hash="0" * 64))
    for statement in TRIGGERS[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_refuse()")
        op.execute("DROP FUNCTION audit_head_advance()")


def _create_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("prefix", sa.String(16), nullable=False, comment="shown, to find the row"),
        sa.Column(
            "key_hash", sa.String(64), nullable=False, comment="SHA-256 of a 256-bit random key"
        ),
        sa.Column("roles", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("name", name=op.f("uq_api_keys_name")),
        sa.UniqueConstraint("prefix", name=op.f("uq_api_keys_prefix")),
    )
    op.create_table(
        "kept_answers",
        sa.Column("caller", sa.String(120), nullable=False, comment="name of the API key"),
        sa.Column("idempotency_key", sa.String(120), nullable=False),
        sa.Column(
            "request_digest", sa.String(64), nullable=False, comment="of method, path and body"
        ),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("caller", "idempotency_key", name=op.f("pk_kept_answers")),
    )
    op.create_index(op.f("ix_kept_answers_created_at"), "kept_answers", ["created_at"])


def _create_audit() -> None:
    op.create_table(
        "audit_records",
        sa.Column("sequence", BIG, autoincrement=False, nullable=False, comment="1, 2, 3 ..."),
        sa.Column(
            "event_id", sa.String(120), nullable=False, comment="e.g. job.succeeded, model.promoted"
        ),
        sa.Column("event_action_code", sa.String(1), nullable=False, comment="C R U D E"),
        sa.Column("event_date_time", TIME, nullable=False),
        sa.Column("event_outcome_indicator", sa.Integer(), nullable=False, comment="0 4 8 12"),
        sa.Column(
            "active_participant",
            sa.String(120),
            nullable=False,
            comment="who: key name, user or worker",
        ),
        sa.Column("participant_object_type", sa.String(120), nullable=False),
        sa.Column("participant_object_id", sa.String(128), nullable=False),
        sa.Column("detail", JSON, nullable=False),
        sa.Column("previous_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit_records")),
        sa.CheckConstraint(
            "event_action_code IN ('C','R','U','D','E')", name=op.f("ck_audit_records_action_code")
        ),
        sa.CheckConstraint(
            "event_outcome_indicator IN (0, 4, 8, 12)",
            name=op.f("ck_audit_records_outcome_indicator"),
        ),
        sa.UniqueConstraint("hash", name=op.f("uq_audit_records_hash")),
    )
    op.create_index(
        op.f("ix_audit_records_participant_object_type_participant_object_id"),
        "audit_records",
        ["participant_object_type", "participant_object_id"],
    )
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("count", BIG, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_head_one_row")),
    )


# The chain only grows. A record stays as it was written, and the head moves only forward, onto a
# record that exists. Who may drop triggers can still forge: `audit verify` is what finds that.
SQLITE_TRIGGERS = (
    """
    CREATE TRIGGER audit_records_no_update BEFORE UPDATE ON audit_records
    BEGIN SELECT RAISE(ABORT, 'audit records are append-only'); END
    """,
    """
    CREATE TRIGGER audit_records_no_delete BEFORE DELETE ON audit_records
    BEGIN SELECT RAISE(ABORT, 'audit records are append-only'); END
    """,
    """
    CREATE TRIGGER audit_head_no_delete BEFORE DELETE ON audit_head
    BEGIN SELECT RAISE(ABORT, 'audit records are append-only'); END
    """,
    """
    CREATE TRIGGER audit_head_forward BEFORE UPDATE ON audit_head
    WHEN NEW.count <= OLD.count OR NOT EXISTS (
        SELECT 1 FROM audit_records WHERE sequence = NEW.count AND hash = NEW.hash)
    BEGIN SELECT RAISE(ABORT, 'audit records are append-only'); END
    """,
)
POSTGRESQL_TRIGGERS = (
    """
    CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'audit records are append-only'; END $$
    """,
    """
    CREATE FUNCTION audit_head_advance() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.count <= OLD.count OR NOT EXISTS (
            SELECT 1 FROM audit_records WHERE sequence = NEW.count AND hash = NEW.hash) THEN
            RAISE EXCEPTION 'audit records are append-only';
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER audit_records_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_records
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()
    """,
    """
    CREATE TRIGGER audit_head_no_delete BEFORE DELETE OR TRUNCATE ON audit_head
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()
    """,
    """
    CREATE TRIGGER audit_head_forward BEFORE UPDATE ON audit_head
    FOR EACH ROW EXECUTE FUNCTION audit_head_advance()
    """,
)
TRIGGERS = {"sqlite": SQLITE_TRIGGERS, "postgresql": POSTGRESQL_TRIGGERS}
