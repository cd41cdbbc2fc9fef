"""Units of work commit all or nothing; troubles of the database are said in one sentence."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from records import database
from records.database import DatabaseUnavailable, Trouble, reading, unit_of_work
from records.tables import Analysis, Job
from tests.records.conftest import AT
from tests.services import PostgresServer

_DELETE = text("DELETE FROM analyses")


def _analysis(name: str = "ct") -> Analysis:
    return Analysis(name=name, version="1", digest="0" * 64, document={}, created_at=AT)


def _names(sessions: sessionmaker[Session]) -> list[str]:
    with reading(sessions) as session:
        return list(session.scalars(select(Analysis.name)))


class TestUnitOfWork:
    def test_it_commits_at_the_end(self, sessions: sessionmaker[Session]) -> None:
        with unit_of_work(sessions) as session:
            session.add(_analysis())
        assert _names(sessions) == ["ct"]

    def test_it_rolls_back_on_any_error(self, sessions: sessionmaker[Session]) -> None:
        with pytest.raises(KeyError):
            self._add_and_stumble(sessions)
        assert _names(sessions) == []

    @staticmethod
    def _add_and_stumble(sessions: sessionmaker[Session]) -> None:
        with unit_of_work(sessions) as session:
            session.add(_analysis())
            session.flush()
            raise KeyError

    def test_our_own_mistakes_stay_what_they_are(self, sessions: sessionmaker[Session]) -> None:
        with pytest.raises(IntegrityError), unit_of_work(sessions) as session:
            session.add_all([_analysis(), _analysis()])

    def test_foreign_keys_hold(self, sessions: sessionmaker[Session]) -> None:
        orphan = Job(
            batch_id=uuid.uuid4(),
            study_id=uuid.uuid4(),
            analysis_id=uuid.uuid4(),
            plan={},
            created_at=AT,
        )
        with pytest.raises(IntegrityError), unit_of_work(sessions) as session:
            session.add(orphan)


class TestReading:
    def test_it_cannot_write(self, sessions: sessionmaker[Session]) -> None:
        with pytest.raises(Exception, match=r"read-?only"), reading(sessions) as session:
            session.execute(_DELETE)

    def test_the_connection_can_write_again_afterwards(
        self, sessions: sessionmaker[Session]
    ) -> None:
        _names(sessions)
        with unit_of_work(sessions) as session:
            session.add(_analysis())
        assert _names(sessions) == ["ct"]

    def test_it_does_not_wait_for_a_writer(self, sessions: sessionmaker[Session]) -> None:
        with unit_of_work(sessions) as session:
            session.add(_analysis())
            session.flush()
            assert _names(sessions) == []


def test_the_clock_of_the_database_is_aware_and_moves(sessions: sessionmaker[Session]) -> None:
    with unit_of_work(sessions) as session:
        first, second = database.now(session), database.now(session)
    assert first.utcoffset() == timedelta(0)
    assert first <= second
    assert abs(datetime.now(UTC) - first) < timedelta(minutes=1)


class TestTroubles:
    def test_a_locked_database(self, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(database, "_WAIT_S", 0.05)
        with _sessions(sqlite_url) as sessions, _sessions(sqlite_url) as others:
            with others.begin() as other:
                other.execute(_DELETE)
                with pytest.raises(DatabaseUnavailable) as caught, unit_of_work(sessions) as ours:
                    ours.execute(_DELETE)
            assert caught.value.trouble is Trouble.LOCKED
            assert _names(sessions) == []

    def test_a_full_disk_changes_nothing(self, sqlite_url: str) -> None:
        with _sessions(sqlite_url) as sessions:
            with sessions.begin() as session:
                pages = session.scalar(text("PRAGMA page_count"))
                session.execute(text(f"PRAGMA max_page_count = {pages}"))
            with pytest.raises(DatabaseUnavailable) as caught, unit_of_work(sessions) as session:
                session.add_all([_analysis(f"{i:0>120}") for i in range(500)])
            assert caught.value.trouble is Trouble.FULL
            assert "full" in str(caught.value)
            assert _names(sessions) == []

    def test_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        file = tmp_path / "nightshift.db"
        file.write_bytes(b"not a database, surely not" * 100)
        with pytest.raises(DatabaseUnavailable) as caught:
            database.upgrade(f"sqlite:///{file}")
        assert caught.value.trouble is Trouble.DAMAGED

    def test_tables_that_are_behind(self, bare_database_url: str) -> None:
        with _sessions(bare_database_url) as sessions:
            with pytest.raises(DatabaseUnavailable) as caught:
                _names(sessions)
            assert caught.value.trouble is Trouble.BEHIND
            assert "nightshift db upgrade" in str(caught.value)

    def test_a_server_that_is_not_there(self, tmp_path: Path) -> None:
        url = f"postgresql://nobody@/nothing?host={tmp_path}"
        with _sessions(url) as sessions, pytest.raises(DatabaseUnavailable) as caught:
            _names(sessions)
        assert caught.value.trouble is Trouble.REFUSED

    def test_a_server_that_hangs_up_midway(
        self, postgres_server: PostgresServer, postgresql_url: str
    ) -> None:
        with _sessions(postgresql_url) as sessions:
            with pytest.raises(DatabaseUnavailable) as caught, unit_of_work(sessions) as session:
                _hang_up(session, postgres_server)
            assert caught.value.trouble is Trouble.REFUSED
            assert _names(sessions) == []  # the next unit of work has a new connection

    def test_a_server_that_hangs_up_on_an_idle_transaction(self, postgresql_url: str) -> None:
        with _sessions(postgresql_url) as sessions:
            with pytest.raises(DatabaseUnavailable) as caught, unit_of_work(sessions) as session:
                _idle_too_long(session)
            assert caught.value.trouble is Trouble.REFUSED

    def test_a_database_that_takes_no_writes(self, sessions: sessionmaker[Session]) -> None:
        with pytest.raises(DatabaseUnavailable) as caught, reading(sessions) as session:
            session.execute(_DELETE)  # refused as by a server that became a standby
        assert caught.value.trouble is Trouble.READ_ONLY

    def test_a_pool_without_a_free_connection(self, sqlite_url: str) -> None:
        engine = create_engine(sqlite_url, pool_size=1, max_overflow=0, pool_timeout=0.01)
        with engine.connect(), pytest.raises(DatabaseUnavailable) as caught:
            _names(database.session_factory(engine))
        assert caught.value.trouble is Trouble.REFUSED
        engine.dispose()


def _hang_up(session: Session, server: PostgresServer) -> None:
    backend = session.scalar(text("SELECT pg_backend_pid()"))
    server._say(f"SELECT pg_terminate_backend({backend})")
    session.execute(text("SELECT 1"))


def _idle_too_long(session: Session) -> None:
    session.execute(text("SET idle_in_transaction_session_timeout = '10ms'"))
    time.sleep(0.5)
    session.execute(text("SELECT 1"))


class TestSqliteFile:
    def test_the_folders_above_it_are_for_their_owner_only(self, tmp_path: Path) -> None:
        file = tmp_path / "a" / "b" / "nightshift.db"
        database.upgrade(f"sqlite:///{file}")

        assert [p.stat().st_mode & 0o777 for p in (file.parent, file.parent.parent)] == [0o700] * 2

    def test_it_runs_in_wal_mode_and_waits_for_locks(self, sqlite_url: str) -> None:
        with _sessions(sqlite_url) as sessions, sessions() as session:
            asked = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            says = [session.scalar(text(f"PRAGMA {name}")) for name in asked]
        assert says == ["wal", 1, 1, 30_000]

    def test_a_unit_of_work_takes_the_write_lock_before_it_reads(self, sqlite_url: str) -> None:
        with _sessions(sqlite_url) as sessions, unit_of_work(sessions) as session:
            session.scalars(select(Analysis.name)).all()
            other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), timeout=0)
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
            other.close()


@contextmanager
def _sessions(url: str) -> Iterator[sessionmaker[Session]]:
    engine = database.connect(url)
    yield database.session_factory(engine)
    engine.dispose()
