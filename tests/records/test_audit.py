"""The audit chain shows every change to what was written, and a tail that was cut off."""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, inspect, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from records import audit
from records.database import reading, unit_of_work
from records.tables import AuditHead, AuditRecord


def _append(sessions: sessionmaker[Session], count: int, **detail: Any) -> None:
    with unit_of_work(sessions) as session:
        for number in range(count):
            audit.append(
                session,
                event_id="job.succeeded",
                action="E",
                by="tester",
                object_type="job",
                object_id=f"{number}",
                detail=detail,
            )


def _verify(sessions: sessionmaker[Session]) -> audit.Verdict:
    with reading(sessions) as session:
        return audit.verify(session)


def _drop_triggers(engine: Engine) -> None:
    """Do what an intruder with the rights of an owner would do first."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
            for name in connection.scalars(text(query)).all():
                connection.execute(text(f"DROP TRIGGER {name}"))
        else:
            for table in ("audit_records", "audit_head"):
                connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER ALL"))


def test_an_empty_chain_is_whole(sessions: sessionmaker[Session]) -> None:
    assert _verify(sessions) == audit.Verdict(
        0, None, "All 0 audit records are as they were written."
    )


def test_a_chain_as_it_was_written_is_whole(sessions: sessionmaker[Session]) -> None:
    _append(sessions, 3)
    _append(sessions, 2)

    verdict = _verify(sessions)
    assert verdict.ok
    assert verdict.count == 5


def test_whatever_detail_says_comes_back_the_same(sessions: sessionmaker[Session]) -> None:
    _append(
        sessions,
        1,
        tiny=1e-7,
        huge=1e22,
        one=1.0,
        big=2**70,
        nothing=None,
        no_number=float("nan"),
        at=datetime(2026, 1, 1, tzinfo=UTC),
        row=uuid.UUID(int=7),
        words=["ä", "\0", "\ud800", {"b": True, "a": {"z", "y"}}],
    )

    assert _verify(sessions).ok


def test_a_rollback_leaves_no_gap(sessions: sessionmaker[Session]) -> None:
    _append(sessions, 1)
    with pytest.raises(DBAPIError):
        _append_an_action_that_is_none(sessions)
    _append(sessions, 1)

    assert _verify(sessions).ok
    assert _verify(sessions).count == 2


def _append_an_action_that_is_none(sessions: sessionmaker[Session]) -> None:
    with unit_of_work(sessions) as session:
        audit.append(
            session, event_id="x", action="Q", by="tester", object_type="job", object_id="1"
        )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_records SET active_participant = 'somebody else'",
        "DELETE FROM audit_records",
        "DELETE FROM audit_head",
        "UPDATE audit_head SET count = 1",
        "UPDATE audit_head SET count = 7",
    ],
)
def test_the_database_refuses_to_rewrite_history(
    engine: Engine, sessions: sessionmaker[Session], statement: str
) -> None:
    _append(sessions, 2)

    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.execute(text(statement))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("active_participant", "testes"),
        ("detail", {"a": 2}),
        ("event_outcome_indicator", 4),
        ("event_date_time", datetime(2026, 1, 1, tzinfo=UTC)),
        ("participant_object_id", "11"),
        ("previous_hash", "0" * 64),
        ("hash", "0" * 64),
    ],
)
def test_one_changed_value_is_found(
    engine: Engine, sessions: sessionmaker[Session], column: str, value: object
) -> None:
    _append(sessions, 4, a=1)
    _drop_triggers(engine)
    with engine.begin() as connection:
        connection.execute(
            update(AuditRecord).where(AuditRecord.sequence == 2).values({column: value})
        )

    verdict = _verify(sessions)
    assert not verdict.ok
    assert verdict.first_bad_sequence == 2
    assert verdict.count == 1


@pytest.mark.parametrize(("removed", "bad"), [(1, 1), (3, 3), (5, 5)])
def test_a_removed_record_is_found_wherever_it_was(
    engine: Engine, sessions: sessionmaker[Session], removed: int, bad: int
) -> None:
    _append(sessions, 5)
    _drop_triggers(engine)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_records WHERE sequence = :n"), {"n": removed})

    verdict = _verify(sessions)
    assert not verdict.ok
    assert verdict.first_bad_sequence == bad


def test_a_record_rewritten_with_a_hash_that_fits_it_breaks_the_chain_behind_it(
    engine: Engine, sessions: sessionmaker[Session]
) -> None:
    _append(sessions, 4)
    _drop_triggers(engine)
    with unit_of_work(sessions) as session:
        row = session.get_one(AuditRecord, 2)
        row.participant_object_id = "another"
        columns = (column.key for column in inspect(AuditRecord).column_attrs)
        row.hash = audit._hash({name: getattr(row, name) for name in columns})

    verdict = _verify(sessions)
    assert not verdict.ok
    assert verdict.first_bad_sequence == 3


def test_a_head_that_was_put_back_is_found(engine: Engine, sessions: sessionmaker[Session]) -> None:
    _append(sessions, 3)
    _drop_triggers(engine)
    with engine.begin() as connection:
        connection.execute(update(AuditHead).values(count=2))

    assert not _verify(sessions).ok


def test_records_behind_the_head_are_found(engine: Engine, sessions: sessionmaker[Session]) -> None:
    _append(sessions, 2)
    with reading(sessions) as session:
        second = session.scalars(select(AuditHead.hash)).one()
    _append(sessions, 1)
    _drop_triggers(engine)
    with engine.begin() as connection:
        connection.execute(update(AuditHead).values(count=2, hash=second))

    assert _verify(sessions).first_bad_sequence == 3


def test_a_missing_head_is_found(engine: Engine, sessions: sessionmaker[Session]) -> None:
    _append(sessions, 1)
    _drop_triggers(engine)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_head"))

    assert not _verify(sessions).ok


def test_concurrent_appends_keep_the_chain(sessions: sessionmaker[Session]) -> None:
    threads = [threading.Thread(target=_append, args=(sessions, 5)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    verdict = _verify(sessions)
    assert verdict.ok
    assert verdict.count == 20


def test_every_column_of_a_record_is_covered_by_its_hash(engine: Engine) -> None:
    stored = {column["name"] for column in inspect(engine).get_columns("audit_records")}

    assert {column.key for column in audit._COLUMNS} == stored
