"""The database: engines, units of work, its clock, its schema and why it cannot be used."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event, func, inspect, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.orm import Session, sessionmaker

import migrations
from records.troubles import DatabaseUnavailable, Trouble, translated

if TYPE_CHECKING:  # Alembic is slow to import, and only migrations need it
    from alembic.config import Config

_WAIT_S = 30
_UPGRADE_LOCK = 0x6E69676874  # "night": the advisory lock that one upgrade at a time holds
_BEGIN = "nightshift_begin"  # execution option: how a SQLite transaction opens

__all__ = [
    "DatabaseUnavailable",
    "SchemaState",
    "Trouble",
    "connect",
    "migrating",
    "migration_config",
    "now",
    "reading",
    "schema_state",
    "session_factory",
    "translated",
    "unit_of_work",
    "upgrade",
]


def connect(url: str) -> Engine:
    """Return an engine for ``url``; nothing is opened yet.

    SQLite runs in WAL mode with foreign keys on and waits 30 s for a lock; the folders above its
    file are made, for their owner only. PostgreSQL is spoken to through psycopg 3.
    Engines do not survive a fork: make one per process.
    """
    return _engine(_parsed(url), foreign_keys=True)


def session_factory(engine: Engine) -> sessionmaker[Session]:
    """Return the factory that ``unit_of_work`` and ``reading`` take."""
    return sessionmaker(engine, expire_on_commit=False)


@contextmanager
def unit_of_work(sessions: sessionmaker[Session]) -> Iterator[Session]:
    """Yield a session; commit at the end, roll back on any error. The only place that commits.

    On SQLite the write lock is taken with the first statement (BEGIN IMMEDIATE), so what was read
    here is still true when it is written.

    Raises:
        DatabaseUnavailable: locked, full, unreachable, or its tables do not fit this version.
    """
    with translated(), sessions.begin() as session:
        yield session


@contextmanager
def reading(sessions: sessionmaker[Session]) -> Iterator[Session]:
    """Yield a session that cannot write and blocks nobody.

    Raises:
        DatabaseUnavailable: as for ``unit_of_work``.
    """
    with translated(), sessions() as session:
        session.connection(execution_options={_BEGIN: "BEGIN", "postgresql_readonly": True})
        yield session


def now(session: Session) -> datetime:
    """Return the time by the database's clock, in UTC.

    Leases of many hosts are compared by this one clock. SQLite has one host, so its clock.
    """
    if session.get_bind().dialect.name == "postgresql":
        # clock_timestamp() moves inside a transaction; now() would stand still.
        clock: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
        return clock.astimezone(UTC)
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class SchemaState:
    """Which migration the tables are at, and which one this version needs."""

    current: str | None
    head: str

    @property
    def is_current(self) -> bool:
        """Whether the tables fit this version."""
        return self.current == self.head

    @property
    def sentence(self) -> str:
        """What to do, in a sentence."""
        if self.is_current:
            return "The tables are up to date."
        if self.current is None:
            return "The database has no tables yet; run `nightshift db upgrade`."
        return (
            f"The tables are at migration {self.current}, this version needs {self.head}; "
            "run `nightshift db upgrade`, or a newer Nightshift if the tables are newer."
        )


def upgrade(url: str) -> None:
    """Bring the tables to this version. Safe when two start at once: the second waits.

    Raises:
        DatabaseUnavailable: locked by another program for 30 s, full, or unreachable.
    """
    from alembic import command

    with migrating(url) as connection:
        command.upgrade(migration_config(connection), "head")


def schema_state(url: str) -> SchemaState:
    """Return where the tables are. Makes no SQLite file where there is none.

    Raises:
        DatabaseUnavailable: locked, or unreachable.
    """
    parsed = _parsed(url)
    if _sqlite_file(parsed) is not None and not Path(str(parsed.database)).exists():
        return SchemaState(None, migrations.HEAD)
    engine = connect(url)
    try:
        with translated(), engine.connect() as connection:
            return SchemaState(_reached(connection), migrations.HEAD)
    finally:
        engine.dispose()


def _reached(connection: Connection) -> str | None:
    """Return the migration that Alembic noted last, or None where it never made a table."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    noted = connection.execute(text("SELECT version_num FROM alembic_version"))
    reached: str | None = noted.scalar_one_or_none()
    return reached


def migration_config(connection: Connection | None = None) -> Config:
    """Return the Alembic configuration, found through the installed package, not the folder."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__path__[0]).resolve()))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@contextmanager
def migrating(url: str) -> Iterator[Connection]:
    """Yield a connection in one transaction that no other migration can enter.

    Foreign keys are off on SQLite meanwhile, because a migration that rebuilds a table drops the
    old one, and that would cascade; they are checked before the commit.
    """
    engine = _engine(_parsed(url), foreign_keys=False)
    try:
        with (
            translated(),
            engine.connect().execution_options(**{_BEGIN: "BEGIN EXCLUSIVE"}) as connection,
            connection.begin(),
        ):
            if engine.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
            yield connection
            if engine.dialect.name == "sqlite":
                _check_foreign_keys(connection)
    finally:
        engine.dispose()


def _check_foreign_keys(connection: Connection) -> None:
    broken = connection.execute(text("PRAGMA foreign_key_check")).all()
    if broken:
        message = f"a migration left {len(broken)} rows that point nowhere; nothing was changed"
        raise RuntimeError(message)


def _parsed(url: str) -> URL:
    parsed = make_url(url)
    if parsed.drivername in {"postgres", "postgresql"}:
        return parsed.set(drivername="postgresql+psycopg")
    return parsed


def _sqlite_file(url: URL) -> Path | None:
    if url.get_backend_name() != "sqlite" or url.database in {None, "", ":memory:"}:
        return None
    return Path(str(url.database))


def _engine(url: URL, *, foreign_keys: bool) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, connect_args=_postgresql_arguments(url))
    file = _sqlite_file(url)
    if file is not None:
        _make_private(file.parent)
    engine = create_engine(url, connect_args={"timeout": _WAIT_S})

    @event.listens_for(engine, "connect")
    def open_sqlite(connection: sqlite3.Connection, record: Any) -> None:
        del record
        connection.isolation_level = None  # we say BEGIN ourselves; the driver would say it late
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # in WAL mode: never a broken file
        connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        how = connection.get_execution_options().get(_BEGIN, "BEGIN IMMEDIATE")
        connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if how == 'BEGIN' else 'OFF'}")
        connection.exec_driver_sql(how)

    return engine


def _postgresql_arguments(url: URL) -> dict[str, Any]:
    """Bound every wait: for the server, for a lock, and for a client that stopped mid-way."""
    arguments: dict[str, Any] = {"connect_timeout": 10}
    if "options" not in url.query:
        arguments["options"] = (
            f"-c lock_timeout={_WAIT_S}s -c idle_in_transaction_session_timeout=60s"
        )
    return arguments


def _make_private(folder: Path) -> None:
    """Make ``folder`` and what is missing above it, each readable by its owner only."""
    missing = [f for f in (folder, *folder.parents) if not f.exists()]
    for each in reversed(missing):
        # mkdir's mode is narrowed by the umask, and 0700 has nothing to narrow.
        each.mkdir(mode=0o700, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise DatabaseUnavailable(Trouble.DAMAGED)
