from __future__ import annotations

from datetime import timedelta

from sqlalchemy.orm import Session, sessionmaker

from records import adoption, training_requests, trainings
from records.database import unit_of_work
from records.tables import Training

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


def _announced(session: Session, lane: str) -> list[object]:
    wakes = trainings.to_publish(session, lane=lane, resend_after=timedelta(seconds=8))
    return [wake.id for wake in wakes]
