"""The life of a training row on both databases."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from records import leases, listing, training_requests, trainings
from records.base import TrainingStatus
from records.database import now, reading, unit_of_work
from records.leases import Fenced, Lease
from records.tables import AuditRecord, Training
from records.trainings import IdempotencyConflict, NewTraining
from records.transitions import IllegalTransition, NoSuchRecord

Sessions = sessionmaker[Session]
RECIPE = {"name": "unet", "version": 1}
LEASE = timedelta(seconds=30)


def create(sessions: Sessions, **values: object) -> uuid.UUID:
    wish = NewTraining(**{"recipe": RECIPE, "manifest": "cases.csv", **values})  # type: ignore[arg-type]
    with unit_of_work(sessions) as session:
        return trainings.create(session, wish, by="ada").id


def claim(sessions: Sessions, training_id: uuid.UUID) -> Lease | None:
    with unit_of_work(sessions) as session:
        return trainings.claim(session, training_id, owner="host:1:a", lease=LEASE)


def must_claim(sessions: Sessions, training_id: uuid.UUID) -> Lease:
    lease = claim(sessions, training_id)
    assert lease is not None
    return lease


def row(sessions: Sessions, training_id: uuid.UUID) -> Training:
    with reading(sessions) as session:
        return trainings.get(session, training_id)


def silence(sessions: Sessions, training_id: uuid.UUID) -> None:
    """Let the lease run out."""
    with unit_of_work(sessions) as session:
        past = now(session) - timedelta(seconds=1)
        session.execute(update(Training).where(Training.id == training_id).values(lease_until=past))


def test_the_same_key_and_request_is_one_training(sessions: Sessions) -> None:
    first = create(sessions, idempotency_key="k")
    assert create(sessions, idempotency_key="k") == first


def test_the_same_key_for_another_request_is_refused(sessions: Sessions) -> None:
    create(sessions, idempotency_key="k")
    with pytest.raises(IdempotencyConflict):
        create(sessions, idempotency_key="k", manifest="others.csv")


def test_an_unknown_training_is_named(sessions: Sessions) -> None:
    with pytest.raises(NoSuchRecord):
        row(sessions, uuid.uuid4())


def test_a_second_delivery_finds_nothing_to_do(sessions: Sessions) -> None:
    training = create(sessions)
    must_claim(sessions, training)
    assert claim(sessions, training) is None
    assert row(sessions, training).status is TrainingStatus.RUNNING


def test_progress_and_snapshot_are_kept_for_those_who_watch(sessions: Sessions) -> None:
    training = create(sessions)
    lease = must_claim(sessions, training)
    with unit_of_work(sessions) as session:
        trainings.note_progress(session, lease, {"epoch": 3}, snapshot_digest="a" * 64)
    assert row(sessions, training).progress == {"epoch": 3}
    assert row(sessions, training).snapshot_digest == "a" * 64


def test_a_training_is_shown_with_its_curve_and_listed_without(sessions: Sessions) -> None:
    training = create(sessions)
    lease = must_claim(sessions, training)
    progress = {"epoch": 3, "curve": [{"epoch": 3, "loss": 0.5}]}
    with unit_of_work(sessions) as session:
        trainings.note_progress(session, lease, progress)
    with reading(sessions) as session:
        shown = listing.training(session, training)
        (listed,) = listing.trainings(session).items
    assert shown is not None
    assert shown.progress == progress
    assert listed.progress == {"epoch": 3}


def test_success_is_final_and_a_late_holder_is_fenced(sessions: Sessions) -> None:
    training = create(sessions)
    lease = must_claim(sessions, training)
    with unit_of_work(sessions) as session:
        trainings.succeed(
            session, lease, metrics={"dice": 0.8}, snapshot_digest="a" * 64, model="unet@1.0"
        )
    assert row(sessions, training).status is TrainingStatus.SUCCEEDED
    with pytest.raises(Fenced), unit_of_work(sessions) as session:
        trainings.fail(session, lease, reason="run.error", detail="late", retry=True)


def test_a_refused_recipe_ends_the_training_with_its_reason(sessions: Sessions) -> None:
    training = create(sessions)
    lease = must_claim(sessions, training)
    with unit_of_work(sessions) as session:
        trainings.reject(session, lease, reason="training.recipe_invalid", detail="epochs: missing")
    ended = row(sessions, training)
    assert (ended.status, ended.reason) == (TrainingStatus.REJECTED, "training.recipe_invalid")
    assert ended.finished_at is not None


def test_a_fault_queues_again_with_back_off_until_attempts_are_used_up(sessions: Sessions) -> None:
    training = create(sessions, max_attempts=2)
    for expected in (TrainingStatus.QUEUED, TrainingStatus.FAILED):
        lease = must_claim(sessions, training)
        with unit_of_work(sessions) as session:
            ended = trainings.fail(session, lease, reason="run.error", detail="?", retry=True)
        assert ended is expected
        if expected is TrainingStatus.QUEUED:
            assert row(sessions, training).not_before is not None
            assert claim(sessions, training) is None
            with unit_of_work(sessions) as session:
                session.execute(update(Training).values(not_before=None))


def test_a_released_training_keeps_its_attempt(sessions: Sessions) -> None:
    training = create(sessions)
    lease = must_claim(sessions, training)
    with unit_of_work(sessions) as session:
        trainings.release(session, lease)
    assert (row(sessions, training).status, row(sessions, training).attempt) == (
        TrainingStatus.QUEUED,
        0,
    )


def test_a_queued_training_is_canceled_at_once_and_never_claimed(sessions: Sessions) -> None:
    training = create(sessions)
    with unit_of_work(sessions) as session:
        assert training_requests.cancel(session, training, by="ada") is TrainingStatus.CANCELED
    assert claim(sessions, training) is None
    with pytest.raises(IllegalTransition), unit_of_work(sessions) as session:
        training_requests.cancel(session, training, by="ada")


def test_the_trainer_of_a_running_training_hears_of_the_cancellation(sessions: Sessions) -> None:
    training = create(sessions)
    lease = must_claim(sessions, training)
    with unit_of_work(sessions) as session:
        assert training_requests.cancel(session, training, by="ada") is TrainingStatus.RUNNING
    with unit_of_work(sessions) as session:
        assert leases.renew(session, [lease], LEASE).cancel == {training}
        trainings.finish_canceled(session, lease)
    assert row(sessions, training).status is TrainingStatus.CANCELED


def test_a_training_whose_trainer_is_gone_is_canceled_at_once(sessions: Sessions) -> None:
    training = create(sessions, lane="gone")
    lease = must_claim(sessions, training)
    silence(sessions, training)
    with unit_of_work(sessions) as session:
        assert training_requests.cancel(session, training, by="ada") is TrainingStatus.CANCELED
    ended = row(sessions, training)
    assert (ended.status, ended.owner, ended.lease_until) == (TrainingStatus.CANCELED, None, None)
    assert ended.finished_at is not None
    with reading(sessions) as session:
        (told,) = session.scalars(
            select(AuditRecord).where(AuditRecord.event_id == "training.cancel_requested")
        )
    assert (told.active_participant, told.detail) == ("ada", {"status": "canceled"})
    with pytest.raises(Fenced), unit_of_work(sessions) as session:
        trainings.note_progress(session, lease, {})


def test_a_training_that_was_to_be_canceled_when_its_trainer_was_lost_is_so_from_any_lane(
    sessions: Sessions,
) -> None:
    training = create(sessions, lane="gone")
    must_claim(sessions, training)
    with unit_of_work(sessions) as session:
        assert training_requests.cancel(session, training, by="ada") is TrainingStatus.RUNNING
        assert trainings.expire(session, lane="shared") == 0
    silence(sessions, training)
    with unit_of_work(sessions) as session:
        assert trainings.expire(session, lane="shared") == 1
    ended = row(sessions, training)
    assert ended.status is TrainingStatus.CANCELED
    assert ended.finished_at is not None


@pytest.mark.parametrize(
    ("attempts", "status"), [(3, TrainingStatus.QUEUED), (1, TrainingStatus.FAILED)]
)
def test_a_silent_trainer_loses_its_training(
    sessions: Sessions, attempts: int, status: TrainingStatus
) -> None:
    training = create(sessions, max_attempts=attempts)
    lease = must_claim(sessions, training)
    silence(sessions, training)
    with unit_of_work(sessions) as session:
        assert trainings.expire(session, lane="another") == 0
        assert trainings.expire(session, lane="shared") == 1
    assert row(sessions, training).status is status
    with pytest.raises(Fenced), unit_of_work(sessions) as session:
        trainings.note_progress(session, lease, {})


def test_a_wake_up_is_sent_once_and_again_when_nobody_came(sessions: Sessions) -> None:
    training = create(sessions)
    with unit_of_work(sessions) as session:
        sent = trainings.to_publish(session, lane="shared", resend_after=timedelta(seconds=8))
        assert [(wake.id, wake.queue) for wake in sent] == [(training, "train")]
    with unit_of_work(sessions) as session:
        assert not trainings.to_publish(session, lane="shared", resend_after=timedelta(seconds=8))
        assert trainings.to_publish(session, lane="shared", resend_after=timedelta(0))
        assert not trainings.to_publish(session, lane="other", resend_after=timedelta(0))


def test_trainings_of_a_model_are_numbered_in_the_order_they_were_asked_for(
    sessions: Sessions,
) -> None:
    first, second = create(sessions), create(sessions)
    other = create(sessions, recipe={"name": "other"})
    with reading(sessions) as session:
        assert [trainings.ordinal(session, one) for one in (first, second, other)] == [0, 1, 0]


def test_a_queued_training_is_paused_at_once_and_goes_on_when_resumed(sessions: Sessions) -> None:
    training = create(sessions)
    with unit_of_work(sessions) as session:
        assert training_requests.pause(session, training, by="ada") is TrainingStatus.PAUSED
    assert claim(sessions, training) is None
    with pytest.raises(IllegalTransition), unit_of_work(sessions) as session:
        training_requests.pause(session, training, by="ada")
    with unit_of_work(sessions) as session:
        assert training_requests.resume(session, training, by="ada") is TrainingStatus.QUEUED
    assert must_claim(sessions, training).attempt == 1


def test_the_trainer_of_a_running_training_hears_of_the_pause_and_lets_go(
    sessions: Sessions,
) -> None:
    training = create(sessions)
    lease = must_claim(sessions, training)
    with unit_of_work(sessions) as session:
        assert training_requests.pause(session, training, by="ada") is TrainingStatus.RUNNING
    with unit_of_work(sessions) as session:
        renewed = leases.renew(session, [lease], LEASE)
        assert (renewed.pause, renewed.cancel) == ({training}, frozenset())
        trainings.release(session, lease)
    paused = row(sessions, training)
    assert (paused.status, paused.attempt, paused.owner) == (TrainingStatus.PAUSED, 0, None)
    assert not paused.pause_requested


def test_a_pause_that_is_only_asked_for_can_be_taken_back(sessions: Sessions) -> None:
    training = create(sessions)
    lease = must_claim(sessions, training)
    for ask in (training_requests.pause, training_requests.resume):
        with unit_of_work(sessions) as session:
            assert ask(session, training, by="ada") is TrainingStatus.RUNNING
    with unit_of_work(sessions) as session:
        assert leases.renew(session, [lease], LEASE).pause == frozenset()
    with pytest.raises(IllegalTransition), unit_of_work(sessions) as session:
        training_requests.resume(session, training, by="ada")


def test_a_training_whose_trainer_died_while_it_was_to_pause_is_paused(sessions: Sessions) -> None:
    training = create(sessions)
    must_claim(sessions, training)
    with unit_of_work(sessions) as session:
        training_requests.pause(session, training, by="ada")
    silence(sessions, training)
    assert claim(sessions, training) is None
    with unit_of_work(sessions) as session:
        assert trainings.expire(session, lane="shared") == 1
    assert row(sessions, training).status is TrainingStatus.PAUSED


def test_a_training_that_ended_while_it_was_to_pause_is_not_resumed(sessions: Sessions) -> None:
    training = create(sessions)
    lease = must_claim(sessions, training)
    with unit_of_work(sessions) as session:
        training_requests.pause(session, training, by="ada")
        trainings.reject(session, lease, reason="training.manifest_invalid", detail="no cases")
    with pytest.raises(IllegalTransition), unit_of_work(sessions) as session:
        training_requests.resume(session, training, by="ada")


def test_a_training_without_room_that_was_to_be_canceled_is_canceled(sessions: Sessions) -> None:
    training = create(sessions)
    lease = must_claim(sessions, training)
    with unit_of_work(sessions) as session:
        training_requests.cancel(session, training, by="ada")
        trainings.postpone(session, lease, reason="run.disk_full", detail="nothing is left")
    ended = row(sessions, training)
    assert (ended.status, ended.reason) == (TrainingStatus.CANCELED, "run.canceled")
    assert ended.not_before is None


def test_a_paused_training_can_be_canceled(sessions: Sessions) -> None:
    training = create(sessions)
    with unit_of_work(sessions) as session:
        training_requests.pause(session, training, by="ada")
        assert training_requests.cancel(session, training, by="ada") is TrainingStatus.CANCELED


def test_a_training_without_room_waits_and_says_why_until_it_is_taken_again(
    sessions: Sessions,
) -> None:
    training = create(sessions)
    lease = must_claim(sessions, training)
    with unit_of_work(sessions) as session:
        trainings.postpone(session, lease, reason="run.disk_full", detail="nothing is left")
    waiting = row(sessions, training)
    assert (waiting.status, waiting.attempt) == (TrainingStatus.QUEUED, 0)
    assert waiting.reason == "run.disk_full"
    assert claim(sessions, training) is None
    with unit_of_work(sessions) as session:
        session.execute(update(Training).values(not_before=None))
    must_claim(sessions, training)
    assert row(sessions, training).reason is None
