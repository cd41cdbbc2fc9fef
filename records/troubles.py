"""Why a database cannot be used: a few troubles a person can act on, one sentence each."""

from __future__ import annotations

import enum
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout


class Trouble(enum.StrEnum):
    """Why the database cannot be used."""

    LOCKED = "locked"
    FULL = "full"
    REFUSED = "refused"
    BEHIND = "behind"
    DAMAGED = "damaged"
    READ_ONLY = "read_only"


_SENTENCES = {
    Trouble.LOCKED: "The database is locked by another program; nothing was changed, try again.",
    Trouble.FULL: "The disk of the database is full; nothing was changed. Free some space.",
    Trouble.REFUSED: "The database cannot be reached; check that it runs and its address is right.",
    Trouble.BEHIND: "The tables do not fit this version; run `nightshift db upgrade`.",
    Trouble.DAMAGED: "The database file is damaged or cannot be read or written; restore a backup.",
    Trouble.READ_ONLY: "The database is read-only: a standby, or a file that may not be written.",
}


class DatabaseUnavailable(Exception):
    """The database cannot be used just now. One clear sentence; the cause is chained."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(_SENTENCES[trouble])
        self.trouble = trouble


@contextmanager
def translated() -> Iterator[None]:
    """Turn driver errors that a person must act on into ``DatabaseUnavailable``."""
    try:
        yield
    except DBAPIError as error:
        trouble = _trouble(error)
        if trouble is None:
            raise
        raise DatabaseUnavailable(trouble) from error
    except PoolTimeout as error:  # every connection of this process is in use
        raise DatabaseUnavailable(Trouble.REFUSED) from error


_SQLITE_TROUBLES = {
    sqlite3.SQLITE_BUSY: Trouble.LOCKED,
    sqlite3.SQLITE_LOCKED: Trouble.LOCKED,
    sqlite3.SQLITE_FULL: Trouble.FULL,
    sqlite3.SQLITE_CANTOPEN: Trouble.DAMAGED,
    sqlite3.SQLITE_PERM: Trouble.DAMAGED,
    sqlite3.SQLITE_IOERR: Trouble.DAMAGED,
    sqlite3.SQLITE_CORRUPT: Trouble.DAMAGED,
    sqlite3.SQLITE_NOTADB: Trouble.DAMAGED,
    sqlite3.SQLITE_READONLY: Trouble.READ_ONLY,
}
_POSTGRESQL_TROUBLES: dict[str, Trouble] = {
    "25006": Trouble.READ_ONLY,  # read_only_sql_transaction
    "25P03": Trouble.REFUSED,  # idle_in_transaction_session_timeout: the server hung up
    "53100": Trouble.FULL,  # disk_full
    "53300": Trouble.REFUSED,  # too_many_connections
    "55P03": Trouble.LOCKED,  # lock_not_available
    "40P01": Trouble.LOCKED,  # deadlock_detected
    "57014": Trouble.LOCKED,  # query_canceled: a timeout
    "42P01": Trouble.BEHIND,  # undefined_table
    "42703": Trouble.BEHIND,  # undefined_column
    "XX001": Trouble.DAMAGED,  # data_corrupted
    "XX002": Trouble.DAMAGED,  # index_corrupted
}


def _trouble(error: DBAPIError) -> Trouble | None:
    """Say which trouble a driver's error is; None for an error of ours, such as a constraint."""
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        if str(cause).startswith(("no such table", "no such column")):
            return Trouble.BEHIND
        code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_OK)
        return _SQLITE_TROUBLES.get(code & 0xFF)  # the low byte is the primary code
    import psycopg  # here: a tenth of all that the API imports, for nothing where SQLite serves

    if isinstance(cause, psycopg.Error):
        if cause.sqlstate in _POSTGRESQL_TROUBLES:
            return _POSTGRESQL_TROUBLES[cause.sqlstate]
        if isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError):
            return Trouble.REFUSED
    return None
