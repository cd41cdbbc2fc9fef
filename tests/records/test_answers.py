"""The answer of a request is kept under its key for a week."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from records import answers
from records.answers import KeyReused, Request
from records.database import now, reading, unit_of_work
from records.tables import KeptAnswer

ASKED = Request(caller="night", idempotency_key="k", digest="a" * 64)
Sessions = sessionmaker[Session]


def _do(sessions: Sessions, request: Request) -> tuple[int, dict[str, int]] | None:
    with unit_of_work(sessions) as session:
        kept = answers.recall(session, request)
        if kept is None:
            answers.keep(session, request, status=201, body={"n": 1})
        return kept


def test_the_second_request_finds_the_answer_of_the_first(sessions: Sessions) -> None:
    assert _do(sessions, ASKED) is None
    assert _do(sessions, ASKED) == (201, {"n": 1})


def test_another_request_under_the_key_is_refused(sessions: Sessions) -> None:
    _do(sessions, ASKED)
    with pytest.raises(KeyReused):
        _do(sessions, Request(caller="night", idempotency_key="k", digest="b" * 64))


def test_work_that_fails_gives_its_key_back(sessions: Sessions) -> None:
    def work() -> None:
        with unit_of_work(sessions) as session:
            answers.recall(session, ASKED)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        work()
    assert _do(sessions, ASKED) is None


def test_answers_are_forgotten_after_a_week(sessions: Sessions) -> None:
    _do(sessions, ASKED)
    with unit_of_work(sessions) as session:
        row = session.scalars(select(KeptAnswer)).one()
        row.created_at = now(session) - answers.KEPT_FOR - timedelta(seconds=1)
    assert _do(sessions, ASKED) is None
    with reading(sessions) as session:
        assert len(session.scalars(select(KeptAnswer)).all()) == 1
