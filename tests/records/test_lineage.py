"""Where versions come from: the training, its cases, and the versions it took weights from."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.orm import Session, sessionmaker

from records import gates, lineage, models, trainings
from records.database import reading, unit_of_work
from records.listing import lineage_of
from records.models import NewModelVersion
from records.trainings import NewTraining

Sessions = sessionmaker[Session]
SNAPSHOT = "5" * 64


def train(sessions: Sessions, name: str, version: str, **recipe: Any) -> None:
    """Record a training of a recipe and its product."""
    with unit_of_work(sessions) as session:
        wish = NewTraining(recipe={"name": name, **recipe}, manifest="cases.csv")
        training = trainings.create(session, wish, by="ada")
        training.snapshot_digest = SNAPSHOT
        gates.keep_snapshot(session, SNAPSHOT, {"training": 3}, "6" * 64)
        new = NewModelVersion(
            name=name,
            version=version,
            digest=f"{name}{version}".ljust(64, "0"),
            kind="classification",
            path="bundles",
            bundle_metadata={},
            training_id=training.id,
        )
        models.register(session, new, by="trainer")


def test_a_line_is_the_active_version_and_all_that_weights_came_from(sessions: Sessions) -> None:
    train(sessions, "heads", "1.0")
    train(sessions, "brains", "1.0", transfer={"source": "heads@1.0"})
    train(sessions, "brains", "1.1", transfer={"source": "brains@1.0"})
    with unit_of_work(sessions) as session:
        models.promote(session, "brains", "1.0", by="ada", why="x", override=True)
    with reading(sessions) as session:
        recipe = {"name": "brains", "transfer": {"source": "brains@1.1"}}
        line = [f"{one.name}@{one.version}" for one in lineage.line_of(session, recipe)]
        assert line == ["brains@1.0", "heads@1.0", "brains@1.1"]
        assert lineage.line_of(session, {"name": "new"}) == []
        detail = lineage_of(session, "brains", "1.1")
    assert detail.trained_from == "brains@1.0"
    assert detail.snapshot is not None
    assert detail.snapshot.counts == {"training": 3}
    assert detail.jobs == {}


@pytest.mark.parametrize(
    "transfer", [None, {}, {"source": "weights.pt"}, {"source": "nothing@1"}, "heads@1.0", 7]
)
def test_what_is_no_registered_version_has_no_lineage(sessions: Sessions, transfer: Any) -> None:
    train(sessions, "heads", "1.0")
    with reading(sessions) as session:
        assert lineage.source_of(session, {"name": "x", "transfer": transfer}) is None
