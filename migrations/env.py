"""How Alembic reaches the database: through the connection that ``records.database`` hands it."""

from __future__ import annotations

import os

from alembic import context
from sqlalchemy import Connection, text

from records.database import migrating
from records.tables import Base  # from here, so that the metadata is filled


def migrate(connection: Connection) -> None:
    """Run the migrations inside the transaction that ``connection`` already holds."""
    if connection.dialect.name == "postgresql":
        # A migration that waits for a busy table makes everybody behind it wait too: give up soon.
        connection.execute(text("SET LOCAL lock_timeout = '10s'"))
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:  # a developer's `alembic ...`
    with migrating(os.environ["NIGHTSHIFT_DATABASE_URL"]) as own:
        migrate(own)
