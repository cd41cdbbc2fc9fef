from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from records import adoption, jobs, training_requests, trainings
from records.base import BatchStatus, JobStatus, TrainingStatus
from records.batches import Retried
from records.database import now, reading, unit_of_work
from records.tables import AuditRecord, Batch, Training
from tests.records.conftest import Rows

WISH = trainings.NewTraining(recipe={"name": "r", "epochs": 3}, manifest="/cases.csv", lane="old")


def test_a_training_that_was_cut_off_is_found_by_its_recipe_and_manifest(
    sessions: sessionmaker[Session],
) -> None:
    other = trainings.NewTraining(recipe={"name": "r"}, manifest="/cases.csv", lane="old")
    shared = trainings.NewTraining(recipe=WISH.recipe, manifest=WISH.manifest)
    with unit_of_work(sessions) as session:
        trainings.create(session, other, by="me")
        trainings.create(session, shared, by="me")
        assert adoption.cut_off_training(session, WISH) is None
        made = trainings.create(session, WISH, by="me")
        found = adoption.cut_off_training(session, WISH)
        assert found is not None
        assert found.id == made.id
        training_requests.cancel(session, made.id, by="me")
        assert adoption.cut_off_training(session, WISH) is None


def test_an_adopted_training_is_announced_in_its_new_lane_only(
    sessions: sessionmaker[Session],
) -> None:
    with unit_of_work(sessions) as session:
        made = trainings.create(session, WISH, by="me").id
        assert _announced(session, "old") == [made]
    with unit_of_work(sessions) as session:
        adoption.adopt_training(session, made, lane="new", by="me")
    with unit_of_work(sessions) as session:
        assert _announced(session, "old") == []
        assert _announced(session, "new") == [made]
        assert session.get_one(Training, made).lane == "new"


def test_a_paused_training_is_found_and_goes_on_where_it_is_adopted(
    sessions: sessionmaker[Session],
) -> None:
    with unit_of_work(sessions) as session:
        made = trainings.create(session, WISH, by="me").id
        training_requests.pause(session, made, by="me")
    with unit_of_work(sessions) as session:
        found = adoption.cut_off_training(session, WISH)
        assert found is not None
        assert found.id == made
        adoption.adopt_training(session, made, lane="new", by="me")
        assert found.status is TrainingStatus.QUEUED
    with unit_of_work(sessions) as session:
        assert _announced(session, "new") == [made]


def test_a_training_whose_command_was_killed_before_it_paused_goes_on_where_it_is_adopted(
    sessions: sessionmaker[Session],
) -> None:
    with unit_of_work(sessions) as session:
        made = trainings.create(session, WISH, by="me").id
        _claim(session, made)
        training_requests.pause(session, made, by="me")
        past = now(session) - timedelta(seconds=1)
        session.execute(update(Training).values(lease_until=past))
    with unit_of_work(sessions) as session:
        adoption.adopt_training(session, made, lane="new", by="me")
    with unit_of_work(sessions) as session:
        _claim(session, made)


def test_a_training_resumed_by_running_services_comes_to_their_lane(
    sessions: sessionmaker[Session],
) -> None:
    with unit_of_work(sessions) as session:
        made = trainings.create(session, WISH, by="me").id
        training_requests.pause(session, made, by="me")
        assert adoption.resume_shared(session, made, by="me") is TrainingStatus.QUEUED
    with unit_of_work(sessions) as session:
        assert _announced(session, "old") == []
        assert _announced(session, adoption.SHARED) == [made]


def test_another_idempotency_key_asks_for_another_training(
    sessions: sessionmaker[Session],
) -> None:
    keyed = replace(WISH, idempotency_key="monday")
    with unit_of_work(sessions) as session:
        made = trainings.create(session, keyed, by="me").id
        tuesday = replace(WISH, idempotency_key="tuesday")
        assert adoption.cut_off_training(session, tuesday) is None
        for wish in (keyed, WISH):
            found = adoption.cut_off_training(session, wish)
            assert found is not None
            assert found.id == made


def test_a_batch_tried_again_by_running_services_comes_to_their_lane(rows: Rows) -> None:
    failed = _failed_in_a_lane_that_is_gone(rows)
    with unit_of_work(rows.sessions) as session:
        again = adoption.retry_shared(session, rows.batch_id, by="me")
    assert again == Retried(jobs=1, scan=False)
    assert _announced_jobs(rows) == [failed]


def test_a_job_tried_again_by_running_services_brings_its_batch_to_their_lane(rows: Rows) -> None:
    failed = _failed_in_a_lane_that_is_gone(rows)
    with unit_of_work(rows.sessions) as session:
        adoption.retry_job_shared(session, failed, by="me")
    assert _announced_jobs(rows) == [failed]
    with reading(rows.sessions) as session:
        assert session.get_one(Batch, rows.batch_id).lane == adoption.SHARED


def test_a_batch_that_is_in_the_shared_lane_is_not_adopted_again(rows: Rows) -> None:
    rows.job(status=JobStatus.FAILED, reason="run.error")
    with unit_of_work(rows.sessions) as session:
        adoption.retry_shared(session, rows.batch_id, by="me")
    with reading(rows.sessions) as session:
        events = session.scalars(select(AuditRecord.event_id))
        assert "batch.adopted" not in set(events)


def _failed_in_a_lane_that_is_gone(rows: Rows) -> uuid.UUID:
    failed = rows.job(status=JobStatus.FAILED, reason="run.worker_lost", lane="gone")
    with unit_of_work(rows.sessions) as session:
        session.execute(update(Batch).values(lane="gone", status=BatchStatus.FINISHED))
    return failed


def _announced_jobs(rows: Rows) -> list[uuid.UUID]:
    resend_after = timedelta(seconds=8)
    with unit_of_work(rows.sessions) as session:
        wakes = jobs.to_publish(session, lane=adoption.SHARED, window=8, resend_after=resend_after)
    return [wake.id for wake in wakes]


def _claim(session: Session, training: uuid.UUID) -> None:
    lease = timedelta(seconds=30)
    assert trainings.claim(session, training, owner="host:1:a", lease=lease) is not None


def _announced(session: Session, lane: str) -> list[object]:
    wakes = trainings.to_publish(session, lane=lane, resend_after=timedelta(seconds=8))
    return [wake.id for wake in wakes]
