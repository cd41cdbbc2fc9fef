"""Alembic migrations of the records."""

from __future__ import annotations

from typing import Final

#: The newest migration: where the tables of this version are. Written down, so that every start
#: compares it with the database's own note and only an upgrade has to load Alembic.
HEAD: Final = "0006"
