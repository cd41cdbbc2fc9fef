"""The prepared cases that trainings share: where they lie, and that they stay below a size."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest

from pipeline.training.cache import Cache, Entry
from pipeline.training.gate_order import GateOrder
from worker.services import Services
from worker.store import PREPARED
from worker.training.order import Order
from worker.upkeep import Upkeep


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """One kind of database is enough here."""
    return sqlite_url


def with_settings(services: Services, **other: object) -> Services:
    settings = services.settings.model_copy(update=other)
    object.__setattr__(services, "settings", settings)
    return services


@pytest.mark.parametrize(("most", "is_shared"), [(0, False), (10**6, True)])
def test_a_training_is_told_where_the_shared_cases_are(
    here: Services, tmp_path: Path, most: int, *, is_shared: bool
) -> None:
    order = Order(
        training_id=uuid.uuid4(),
        recipe={},
        manifest="cases.csv",
        weights=tmp_path,
        version="1.0",
        folder=tmp_path,
        bundle=tmp_path / "bundle",
        gate=GateOrder(folder="", active=None),
    )
    stated = order.document(with_settings(here, prepared_bytes=most))["prepared"]
    assert stated == (str(here.store.root / PREPARED) if is_shared else "")


def test_a_tick_removes_what_no_training_has_asked_for_the_longest(
    here: Services, tmp_path: Path
) -> None:
    shared = here.store.root / PREPARED
    kept = Cache(folder=tmp_path / "own", shared=shared)
    kept.keep("a", {"image": np.zeros(1000)}, Entry(pixels=()))
    Upkeep(with_settings(here, prepared_bytes=10**6)).tick()
    assert (shared / "a").exists()
    Upkeep(with_settings(here, prepared_bytes=100)).tick()
    assert not (shared / "a").exists()

    assert kept.find("a") is not None
