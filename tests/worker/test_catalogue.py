from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

import analyses
import models as shipped_models
from pipeline.models import bundle
from records import audit, database, models, recalls
from records.base import Stage
from records.tables import Analysis, ModelVersion
from worker.catalogue import register_bundle, register_shipped
from worker.services import Services

pytestmark = pytest.mark.usefixtures("here")


def test_what_is_shipped_is_registered_active_and_whole_in_the_store(here: Services) -> None:
    with database.reading(here.sessions) as session:
        rows = session.scalars(select(ModelVersion)).all()
        names = set(session.scalars(select(Analysis.name)))
    assert {"threshold-lung", "threshold-body"} <= {row.name for row in rows}
    assert all(row.stage is Stage.ACTIVE for row in rows)
    assert all((here.store.bundle_path(row.digest) / "configs").is_dir() for row in rows)
    shipped = {path.stem for root in analyses.__path__ for path in Path(root).glob("*.yaml")}
    assert shipped <= names


def test_registering_again_changes_nothing(here: Services) -> None:
    def count() -> int:
        with database.reading(here.sessions) as session:
            rows = session.scalar(select(func.count()).select_from(ModelVersion)) or 0
            return rows + audit.verify(session).count

    before = count()
    register_shipped(here)
    assert count() == before


@pytest.mark.parametrize("withdraw", [models.retire, recalls.recall])
def test_a_new_version_is_no_first_where_another_was_withdrawn(
    here: Services, tmp_path: Path, withdraw: Callable[..., object]
) -> None:
    with database.unit_of_work(here.sessions) as session:
        withdraw(session, "threshold-lung", "1", by="test", why="test")
    shipped = next(Path(root) / "threshold-lung" for root in shipped_models.__path__)
    shutil.copytree(shipped, tmp_path / "next")
    metadata = tmp_path / "next" / bundle.METADATA
    metadata.write_text(metadata.read_text().replace('"version": "1"', '"version": "2"'))
    register_bundle(here, tmp_path / "next")
    with database.reading(here.sessions) as session:
        assert models.get(session, "threshold-lung", "2").stage is Stage.CANDIDATE
        assert models.active(session, "threshold-lung") is None


def test_a_shipped_version_that_somebody_retired_stays_retired(here: Services) -> None:
    with database.unit_of_work(here.sessions) as session:
        models.retire(session, "threshold-lung", "1", by="test", why="test")
    register_shipped(here)
    with database.reading(here.sessions) as session:
        assert models.active(session, "threshold-lung") is None
