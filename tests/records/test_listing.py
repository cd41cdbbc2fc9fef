"""Listings page by key, cost a fixed number of queries, and order alike on every database."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, event, update
from sqlalchemy.orm import Session, sessionmaker

from records import listing
from records.base import BatchStatus, JobStatus
from records.database import now, reading, unit_of_work
from records.listing import BadCursor, batch_rows, catalogue, job_rows, paging, trail, training_rows
from records.tables import Batch, Job, ModelVersion, Result, Study
from tests.records.conftest import AT, Rows

Sessions = sessionmaker[Session]
ORDERS = [
    batch_rows.ORDER,
    job_rows.ORDER,
    catalogue.ANALYSES,
    catalogue.MODELS,
    training_rows.TRAININGS,
    training_rows.SCHEDULES,
    trail.ORDER,
]


@contextmanager
def _queries(engine: Engine) -> Iterator[list[str]]:
    said: list[str] = []

    def hear(_c: Any, _u: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().upper().startswith("SELECT"):
            said.append(statement)

    event.listen(engine, "before_cursor_execute", hear)
    try:
        yield said
    finally:
        event.remove(engine, "before_cursor_execute", hear)


LISTINGS: dict[str, Callable[[Session, Rows], Any]] = {
    "batches": lambda session, _: listing.batches(session, limit=500),
    "jobs": lambda session, rows: listing.jobs(session, rows.batch_id, limit=500),
    "results": lambda session, rows: list(listing.result_rows(session, rows.batch_id)),
    "models": lambda session, _: listing.models(session, limit=500),
    "trainings": lambda session, _: listing.trainings(session, limit=500),
    "stats": lambda session, _: listing.stats(session),
}


@pytest.mark.parametrize("name", LISTINGS)
def test_a_listing_costs_the_same_queries_whatever_its_length(
    rows: Rows, engine: Engine, name: str
) -> None:
    counts = []
    for _ in range(2):
        _grow(rows, 7)
        with reading(rows.sessions) as session, _queries(engine) as said:
            LISTINGS[name](session, rows)
        counts.append(len(said))
    assert counts[0] == counts[1]
    assert counts[0] <= 10


def _grow(rows: Rows, count: int) -> None:
    ids = rows.jobs(count)
    with unit_of_work(rows.sessions) as session:
        session.add_all(
            Result(
                job_id=job, step="s", ordinal=0, kind="segment", label="x",
                model_version_id=rows.model_id, payload={},
            )
            for job in ids
        )  # fmt: skip
        session.add_all(_batch(offset) for offset in range(count))
        session.add_all(_model(uuid.uuid4().hex) for _ in range(count))


def _batch(minutes: int) -> Batch:
    return Batch(
        id=uuid.uuid4(), source="in", analyses=["ct"], created_by="tester",
        created_at=AT + timedelta(minutes=minutes),
    )  # fmt: skip


def _model(name: str) -> ModelVersion:
    return ModelVersion(
        id=uuid.uuid4(), name=name, version="1", digest="2" * 64, kind="threshold", path="p",
        bundle_metadata={}, created_at=AT,
    )  # fmt: skip


def test_rows_of_one_moment_are_paged_without_gap_or_repeat(rows: Rows) -> None:
    made = rows.jobs(23)  # all created at the same time
    seen: list[uuid.UUID] = []
    cursor: str | None = None
    while cursor is not None or not seen:
        with reading(rows.sessions) as session:
            found = listing.jobs(session, rows.batch_id, limit=5, cursor=cursor)
        seen += [item.id for item in found.items]
        cursor = found.next
    assert sorted(seen) == sorted(made)
    assert len(seen) == 23


def test_results_are_sorted_by_bytes_not_by_the_language_of_the_database(rows: Rows) -> None:
    ids = rows.jobs(4)
    names = ["1.2.10", "1.2.9", "12.1", "1.21"]
    with unit_of_work(rows.sessions) as session:
        for job, name in zip(ids, names, strict=True):
            study = session.get_one(Study, session.get_one(Job, job).study_id)
            study.study_instance_uid = name
    with reading(rows.sessions) as session:
        ordered = listing.ordered_jobs(session, rows.batch_id)
    assert [names[ids.index(job)] for job in ordered] == sorted(names)


def test_many_jobs_are_read_in_several_queries(rows: Rows, sessions: Sessions) -> None:
    _grow(rows, listing.results.JOBS_PER_QUERY + 3)
    with reading(sessions) as session:
        found = list(listing.result_rows(session, rows.batch_id))
    assert len(found) == listing.results.JOBS_PER_QUERY + 3
    assert [row.study for row in found] == sorted(row.study for row in found)


def test_progress_tells_the_rate_of_late(rows: Rows) -> None:
    ended = rows.jobs(6)
    rows.jobs(2)
    with unit_of_work(rows.sessions) as session:
        at = now(session)
        done = update(Job).where(Job.id.in_(ended)).values(status=JobStatus.SUCCEEDED)
        session.execute(done.values(finished_at=at))
    with reading(rows.sessions) as session:
        progress = listing.progress(session, rows.batch_id)
    assert progress is not None
    assert (progress.done, progress.total, progress.status) == (6, 8, BatchStatus.RUNNING)
    assert progress.jobs_per_minute == pytest.approx(3.0, rel=0.01)
    assert progress.seconds_left == pytest.approx(40.0, rel=0.01)


def test_what_is_not_there_is_none(sessions: Sessions) -> None:
    nobody = uuid.uuid4()
    with reading(sessions) as session:
        assert listing.batch(session, nobody) is None
        assert listing.progress(session, nobody) is None
        assert listing.job(session, nobody) is None
        assert listing.explain(session, nobody) is None
        assert listing.training(session, nobody) is None
        assert listing.artifact(session, nobody, "x") is None
        assert listing.analysis(session, "x") is None
        assert listing.model(session, "x", "1") is None


def test_a_cursor_of_one_listing_is_refused_by_another() -> None:
    cursor = paging.encode(batch_rows.ORDER, (AT, uuid.uuid4()))
    with pytest.raises(BadCursor, match="another listing"):
        paging.decode(job_rows.ORDER, cursor)


def test_a_cursor_carries_its_key_exactly() -> None:
    key = [AT + timedelta(microseconds=123457), uuid.uuid4()]
    assert paging.decode(batch_rows.ORDER, paging.encode(batch_rows.ORDER, key)) == key


@given(order=st.sampled_from(ORDERS), cursor=st.text(max_size=80))
def test_no_text_makes_a_cursor_fail_otherwise_than_by_its_own_error(
    order: paging.Order, cursor: str
) -> None:
    with pytest.raises(BadCursor):
        paging.decode(order, cursor)


@given(order=st.sampled_from(ORDERS), words=st.lists(st.text(max_size=40), max_size=4))
def test_forged_cursors_are_refused_or_hold_values_a_database_can_take(
    order: paging.Order, words: list[str]
) -> None:
    forged = paging.encode(order, words)
    try:
        values = paging.decode(order, forged)
    except BadCursor:
        return
    assert all(not isinstance(v, str) or "\0" not in v for v in values)
    assert all(not isinstance(v, int) or 0 <= v < 2**63 for v in values)
