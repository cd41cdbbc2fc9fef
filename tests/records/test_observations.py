"""The windows of an analysis: the first jobs against the latest, of the same models."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from sqlalchemy.orm import Session, sessionmaker

from records import observations
from records.database import reading, unit_of_work
from records.observations import Window, Windows
from records.tables import JobModel, ModelVersion
from tests.records.answered import AT, Answered, scores

Sessions = sessionmaker[Session]


def day(number: int) -> datetime:
    return AT + timedelta(days=number)


def windows(sessions: Sessions, **window: object) -> Windows:
    with reading(sessions) as session:
        found = observations.windows(session, "light", Window(**window))  # type: ignore[arg-type]
    assert found is not None
    return found


def newer_version(sessions: Sessions) -> uuid.UUID:
    promoted = uuid.uuid4()
    with unit_of_work(sessions) as session:
        session.add(
            ModelVersion(
                id=promoted, name="quick", version="1.1", digest="2" * 64, kind="classification",
                path="bundles/2", bundle_metadata={}, created_at=AT,
            )
        )  # fmt: skip
    return promoted


def ended(observed: tuple[observations.Observed, ...]) -> list[int]:
    return [(one.ended - AT).days for one in observed]


def test_the_first_jobs_are_the_reference_and_the_latest_others_are_current(
    sessions: Sessions,
) -> None:
    world = Answered(sessions)
    for number in range(7):
        world.job(number, scores(0.9), finished_at=day(number))
    found = windows(sessions, size=3)
    assert (ended(found.reference), ended(found.current)) == ([0, 1, 2], [4, 5, 6])
    found = windows(sessions, size=5)
    assert (ended(found.reference), ended(found.current)) == ([0, 1, 2, 3, 4], [5, 6])
    assert (found.version, found.models) == ("1", {"look": "quick@1.0"})


def test_the_reference_may_be_a_time(sessions: Sessions) -> None:
    world = Answered(sessions)
    for number in range(6):
        world.job(number, scores(0.9), finished_at=day(number))
    found = windows(sessions, since=day(1), until=day(3))
    assert (ended(found.reference), ended(found.current)) == ([1, 2], [3, 4, 5])


def test_another_version_of_the_model_begins_anew(sessions: Sessions) -> None:
    world = Answered(sessions)
    world.job(1, scores(0.9), finished_at=day(1))
    promoted = newer_version(sessions)
    newer = world.job(2, scores(0.9), finished_at=day(2))
    with unit_of_work(sessions) as session:
        session.get_one(JobModel, (newer, "look")).model_version_id = promoted
    found = windows(sessions)
    assert (ended(found.reference), ended(found.current)) == ([2], [])
    assert found.models == {"look": "quick@1.1"}


def test_an_older_job_that_ends_after_a_promotion_does_not_bring_its_version_back(
    sessions: Sessions,
) -> None:
    world = Answered(sessions)
    world.job(1, scores(0.9), finished_at=day(1))
    promoted = newer_version(sessions)
    newer = world.job(2, scores(0.9), created_at=day(2), finished_at=day(3))
    with unit_of_work(sessions) as session:
        session.get_one(JobModel, (newer, "look")).model_version_id = promoted
    world.job(3, scores(0.9), created_at=day(1), finished_at=day(4))
    found = windows(sessions)
    assert (ended(found.reference), found.models) == ([3], {"look": "quick@1.1"})
    with reading(sessions) as session:
        assert observations.last_ended(session, "light") == day(4)


def test_of_a_job_tags_intensities_and_statements_are_known(sessions: Sessions) -> None:
    intensity = {"mean": 5.0}
    Answered(sessions).job(
        1,
        scores(0.9),
        attributes={"manufacturer": "Acme"},
        report={"inputs": {"image": [{"intensity": intensity}]}},
    )
    (seen,) = windows(sessions).reference
    assert (seen.attributes, seen.intensity) == ({"manufacturer": "Acme"}, intensity)
    assert seen.results[0] == {
        "step": "look",
        "kind": "classification",
        "label": "dark",
        "value": None,
        "score": 0.9,
        "is_top": True,
    }


def test_an_analysis_that_never_answered_has_no_windows(sessions: Sessions) -> None:
    Answered(sessions)
    with reading(sessions) as session:
        assert observations.windows(session, "light", Window()) is None
        assert observations.analyses(session) == []
        assert observations.last_ended(session, "light") is None
