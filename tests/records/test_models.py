"""Model versions on both databases: registration, promotion, rollback, retirement."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from records import audit, models
from records.base import Stage
from records.database import reading, unit_of_work
from records.models import NewModelVersion, StageRefused, VersionTaken
from records.tables import AuditRecord, ModelVersion

Sessions = sessionmaker[Session]


def new(version: str, *, name: str = "unet", digest: str = "") -> NewModelVersion:
    return NewModelVersion(
        name=name,
        version=version,
        digest=(digest or version).ljust(64, "0"),
        kind="segmentation",
        path=f"bundles/{version}",
        bundle_metadata={"version": version},
    )


def register(sessions: Sessions, *versions: str, name: str = "unet") -> None:
    with unit_of_work(sessions) as session:
        for version in versions:
            models.register(session, new(version, name=name), by="ada")


def promote(sessions: Sessions, version: str) -> None:
    with unit_of_work(sessions) as session:
        models.promote(session, "unet", version, by="ada", why="better", override=True)


def active(sessions: Sessions) -> str | None:
    with reading(sessions) as session:
        row = models.active(session, "unet")
        return None if row is None else row.version


def test_a_registered_version_is_a_candidate_and_nothing_is_active(sessions: Sessions) -> None:
    register(sessions, "1.0")
    with reading(sessions) as session:
        assert models.get(session, "unet", "1.0").stage is Stage.CANDIDATE
    assert active(sessions) is None


def test_the_same_bytes_registered_twice_are_one_version(sessions: Sessions) -> None:
    register(sessions, "1.0")
    register(sessions, "1.0")
    with reading(sessions) as session:
        assert len(models.versions(session, "unet")) == 1
        assert len(session.scalars(select(AuditRecord)).all()) == 1


def test_a_name_and_version_never_stand_for_other_bytes(sessions: Sessions) -> None:
    register(sessions, "1.0")
    with pytest.raises(VersionTaken), unit_of_work(sessions) as session:
        models.register(session, new("1.0", digest="other"), by="ada")


def test_the_same_bundle_registered_by_many_at_once_is_one_version(sessions: Sessions) -> None:
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(register, sessions, "1.0") for _ in range(4)]:
            done.result()
    with reading(sessions) as session:
        assert [row.version for row in models.versions(session)] == ["1.0"]


def test_promotion_replaces_and_retires_what_was_active(sessions: Sessions) -> None:
    register(sessions, "1.0", "1.1")
    promote(sessions, "1.0")
    promote(sessions, "1.1")
    assert active(sessions) == "1.1"
    with reading(sessions) as session:
        assert models.get(session, "unet", "1.0").stage is Stage.RETIRED


def test_what_is_active_is_not_promoted_again(sessions: Sessions) -> None:
    register(sessions, "1.0")
    promote(sessions, "1.0")
    with pytest.raises(StageRefused):
        promote(sessions, "1.0")


def test_a_version_nobody_registered_is_not_promoted(sessions: Sessions) -> None:
    with pytest.raises(models.ModelVersionMissing):
        promote(sessions, "9.9")


def test_rollback_returns_to_what_was_active_before_step_by_step(sessions: Sessions) -> None:
    register(sessions, "1.0", "1.1", "1.2")
    for version in ("1.0", "1.1", "1.2"):
        promote(sessions, version)
    seen = []
    for _ in range(2):
        with unit_of_work(sessions) as session:
            seen.append(models.rollback(session, "unet", by="ada", why="worse at night").version)
    assert seen == ["1.1", "1.0"]
    assert active(sessions) == "1.0"
    with pytest.raises(StageRefused), unit_of_work(sessions) as session:
        models.rollback(session, "unet", by="ada", why="still worse")


def test_after_a_rollback_the_next_promotion_returns_to_the_version_in_use(
    sessions: Sessions,
) -> None:
    register(sessions, "1.0", "1.1", "1.2")
    promote(sessions, "1.0")
    promote(sessions, "1.1")
    with unit_of_work(sessions) as session:
        models.rollback(session, "unet", by="ada", why="worse")
    promote(sessions, "1.2")
    with unit_of_work(sessions) as session:
        assert models.rollback(session, "unet", by="ada", why="worse").version == "1.0"


def test_without_an_active_version_there_is_nothing_to_roll_back(sessions: Sessions) -> None:
    register(sessions, "1.0")
    with pytest.raises(models.ModelVersionMissing), unit_of_work(sessions) as session:
        models.rollback(session, "unet", by="ada", why="?")


def test_retiring_the_active_version_leaves_none(sessions: Sessions) -> None:
    register(sessions, "1.0")
    promote(sessions, "1.0")
    with unit_of_work(sessions) as session:
        models.retire(session, "unet", "1.0", by="ada", why="old scanner is gone")
    assert active(sessions) is None
    with pytest.raises(StageRefused), unit_of_work(sessions) as session:
        models.retire(session, "unet", "1.0", by="ada", why="again")


def test_every_step_says_who_and_why_in_the_audit_chain(sessions: Sessions) -> None:
    register(sessions, "1.0", "1.1")
    promote(sessions, "1.0")
    promote(sessions, "1.1")
    with unit_of_work(sessions) as session:
        models.rollback(session, "unet", by="grace", why="worse")
    with reading(sessions) as session:
        records = session.scalars(select(AuditRecord).order_by(AuditRecord.sequence)).all()
        assert audit.verify(session).ok
    assert [record.event_id for record in records] == [
        "model.registered",
        "model.registered",
        "model.promoted",
        "model.promoted",
        "model.rolled_back",
    ]
    assert records[-1].active_participant == "grace"
    assert records[-1].detail == {"why": "worse", "replaced": "1.1"}


def test_the_database_itself_refuses_a_second_active_version(sessions: Sessions) -> None:
    register(sessions, "1.0", "1.1")
    promote(sessions, "1.0")
    with pytest.raises(IntegrityError), unit_of_work(sessions) as session:
        session.get_one(ModelVersion, models.get(session, "unet", "1.1").id).stage = Stage.ACTIVE


def test_promotions_at_the_same_time_leave_one_active(sessions: Sessions) -> None:
    register(sessions, "1.0", "1.1", "1.2", "1.3")
    promote(sessions, "1.0")
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(promote, sessions, f"1.{number}") for number in (1, 2, 3)]:
            done.result()
    with reading(sessions) as session:
        stages = [row.stage for row in models.versions(session, "unet")]
    assert stages.count(Stage.ACTIVE) == 1
    assert stages.count(Stage.RETIRED) == 3


def test_the_next_version_is_the_first_free_one(sessions: Sessions) -> None:
    register(sessions, "1.0", "1.2")
    with reading(sessions) as session:
        assert models.next_version(session, "unet", 1) == "1.1"
        assert models.next_version(session, "unet", 1, at_least=2) == "1.3"
        assert models.next_version(session, "unet", 2) == "2.0"
        assert models.next_version(session, "other", 1) == "1.0"
