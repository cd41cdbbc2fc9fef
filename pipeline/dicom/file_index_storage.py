"""The SQLite file below ``FileIndex``: begun, opened again, thrown away."""

from __future__ import annotations

import os
import secrets
import sqlite3
from pathlib import Path
from typing import Final

_SCHEMA: Final = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE files (
  name TEXT PRIMARY KEY, folder TEXT NOT NULL, size INTEGER NOT NULL, stamp TEXT NOT NULL,
  round INTEGER NOT NULL, verdict TEXT NOT NULL, sentence TEXT,
  study TEXT, series TEXT, sop TEXT, twin INTEGER NOT NULL DEFAULT 0, header BLOB
);
"""
_CACHE_KIB: Final = 32 * 1024
#: seconds to wait for another process to let go
_PATIENCE: Final = 1.0


def remove(path: Path) -> None:
    """Remove an index and what SQLite keeps beside it."""
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        name.unlink(missing_ok=True)


def opened(path: Path | None, key: str, now: int) -> sqlite3.Connection:
    """Open an index that fits the key; one that does not, or is damaged, is begun anew, ``now``.

    Raises:
        sqlite3.OperationalError: another process has it open ("locked"), or the disk is full.

    """
    if path is None:
        # "" is SQLite's own temporary file, which has no name and ends with its process.
        database = sqlite3.connect("")
        _tune(database, "OFF")
        return _begun(database, key, now)
    for _ in range(2):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives the files beside it the mode of the first.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        database = sqlite3.connect(path, timeout=_PATIENCE)
        try:
            _tune(database, "WAL")
            stated = fact(database, "key")
            if stated is None:
                return _begun(database, key, now)
            if stated == key.encode():
                return database
        except sqlite3.OperationalError:
            database.close()
            raise
        except sqlite3.DatabaseError:
            pass  # damaged, as by a loss of power
        database.close()
        remove(path)
    raise sqlite3.DatabaseError("an index that was begun anew is damaged")


def _tune(database: sqlite3.Connection, journal: str) -> None:
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    # Nothing is lost that the source does not hold: a kill is survived, a loss of power found.
    database.execute("PRAGMA synchronous = OFF")
    database.execute(f"PRAGMA journal_mode = {journal}")


def fact(database: sqlite3.Connection, name: str) -> bytes | None:
    """Return one fact, None where the index has none or is none yet."""
    if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'files'").fetchone() is None:
        return None
    row = database.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return None if row is None else row[0]


def _begun(database: sqlite3.Connection, key: str, now: int) -> sqlite3.Connection:
    database.executescript(f"BEGIN; {_SCHEMA}")
    facts = [
        ("key", key.encode()),
        ("salt", secrets.token_bytes(16)),
        ("round", b"\0"),
        ("begun", now.to_bytes(8, "big")),
    ]
    database.executemany("INSERT INTO facts VALUES (?, ?)", facts)
    database.commit()
    return database
