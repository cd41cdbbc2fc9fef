from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from records import drifts, trainings
from records.base import TrainingStatus
from records.database import now, reading, unit_of_work
from records.drifts import NewDriftReport
from records.tables import DriftReport
from records.trainings import NewTraining
from tests.worker.test_prepared import with_settings
from worker.retention import forget_ended
from worker.services import Services
from worker.store import TENSORBOARD, TRAININGS
from worker.upkeep import Upkeep

MONTH = timedelta(days=30)


def training(here: Services, ended: timedelta | None) -> uuid.UUID:
    """Add a training that ended so long ago, or has not, and what it left in the store."""
    with unit_of_work(here.sessions) as session:
        new = NewTraining(recipe={"name": "unet"}, manifest="cases.csv")
        row = trainings.create(session, new, by="ada")
        if ended is not None:
            row.status, row.finished_at = TrainingStatus.FAILED, now(session) - ended
    for parent in (TRAININGS, TENSORBOARD):
        folder = here.store.root / parent / str(row.id)
        folder.mkdir(parents=True)
        (folder / "file").write_text("of a training")
    return row.id


def left(here: Services) -> dict[str, set[str]]:
    return {
        parent: {folder.name for folder in (here.store.root / parent).iterdir()}
        for parent in (TRAININGS, TENSORBOARD)
    }


def test_what_trainings_left_goes_a_stated_time_after_their_end(here: Services) -> None:
    training(here, MONTH + timedelta(hours=1))
    kept = {str(training(here, ended)) for ended in (None, MONTH - timedelta(hours=1))}
    assert forget_ended(here, after=MONTH) == 2
    assert left(here) == {TRAININGS: kept, TENSORBOARD: kept}
    assert forget_ended(here, after=MONTH) == 0


def test_a_tick_keeps_as_many_looks_at_drift_as_the_settings_say(here: Services) -> None:
    new = NewDriftReport(analysis="light", version="1", drifted=False, document={})
    for _ in range(3):
        with unit_of_work(here.sessions) as session:
            drifts.add(session, new, by="desk")
    Upkeep(with_settings(here, drift_reports_kept=2)).tick()
    with reading(here.sessions) as session:
        assert session.scalar(select(func.count()).select_from(DriftReport)) == 2


def test_folders_of_nobody_known_stay(here: Services) -> None:
    for name in ("not-an-id", str(uuid.uuid4())):
        (here.store.root / TENSORBOARD / name).mkdir(parents=True)
    assert forget_ended(here, after=timedelta(0)) == 0


@pytest.mark.parametrize(("days", "is_kept"), [(3, True), (1, False)])
def test_a_tick_forgets_what_ended_longer_ago_than_the_settings_say(
    here: Services, days: int, *, is_kept: bool
) -> None:
    number = training(here, timedelta(days=2))
    Upkeep(with_settings(here, training_files_kept=timedelta(days=days))).tick()
    assert (str(number) in left(here)[TENSORBOARD]) is is_kept
