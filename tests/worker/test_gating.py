"""The gate of a training through its worker: rows, files, and that it can be computed again."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.training import gate_order as files
from records import audit, gates, lineage, models
from records.base import GateDecision
from records.database import reading, unit_of_work
from records.gates import GateRefused
from records.tables import Gate
from tests import quick_training
from tests.worker.test_training import manifest, services, train
from worker import gating, gating_again, verifying
from worker.services import Services
from worker.verbs import FAILED, WELL

__all__ = ["manifest", "services"]
pytestmark = pytest.mark.system

RULE: dict[str, Any] = {"statistic": "accuracy", "least_patients": 2}
FLOOR = {"statistic": "accuracy", "value": 0.5}


def gate_of(services: Services, version: str) -> Gate:
    with reading(services.sessions) as session:
        return gates.latest(session, models.get(session, "quick", version))


@pytest.fixture
def promoted(services: Services, manifest: Path) -> Iterator[Services]:
    """A model whose first version met its floor and was made active by its gate."""
    train(services, manifest, gate=RULE | {"floors": [FLOOR]})
    with unit_of_work(services.sessions) as session:
        models.promote(session, "quick", "1.0", by="grace", why="its floor is met")
    return services


def test_a_training_leaves_a_gate_its_snapshot_and_files_to_compute_it_from(
    promoted: Services, manifest: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    train(promoted, manifest, gate=RULE)
    gate = gate_of(promoted, "1.1")
    assert gate.decision is GateDecision.REFUSE  # the same again is not better
    assert "better is wanted" in gate.sentence
    with reading(promoted.sessions) as session:
        first, second = models.versions(session, "quick")
        assert gate.active_id == first.id
        snapshot = lineage.snapshot_of(session, second)
        assert snapshot is not None
        assert snapshot.counts == {"training": 8, "validation": 4, "held-out": 4}
        assert audit.verify(session).ok
    for sha256 in (gate.page, snapshot.sha256, gate.statement["candidate"]["scores"]):
        assert promoted.store.path(sha256).exists()
    with pytest.raises(GateRefused, match="says refuse"), unit_of_work(promoted.sessions) as one:
        models.promote(one, "quick", "1.1", by="grace", why="newer")

    monkeypatch.setattr(verifying, "Settings", lambda: promoted.settings)
    words = argparse.Namespace(name="quick", version="1.1")
    capsys.readouterr()  # what the trainings logged
    assert verifying.verify_gate(words) == WELL
    assert json.loads(capsys.readouterr().out)["is_same"] is True
    promoted.store.path(gate.statement["candidate"]["scores"]).write_bytes(b"{}")
    assert verifying.verify_gate(words) == FAILED
    assert "not what it was" in capsys.readouterr().err


def test_a_gate_is_decided_again_against_what_became_active_after_the_training(
    services: Services, manifest: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(gating_again, "Settings", lambda: services.settings)
    for _ in range(2):
        train(services, manifest, gate=RULE)
    first = argparse.Namespace(name="quick", version="1.0", by="ada")
    words = argparse.Namespace(name="quick", version="1.1", by="ada")
    with unit_of_work(services.sessions) as session:
        models.promote(session, "quick", "1.0", by="grace", why="the first", override=True)
    assert gate_of(services, "1.1").active_id is None
    assert gating_again.gate_again(words) == WELL
    gate = gate_of(services, "1.1")
    with reading(services.sessions) as session:
        assert gate.active_id == models.get(session, "quick", "1.0").id
    assert gate.decision is GateDecision.REFUSE
    monkeypatch.setattr(verifying, "Settings", lambda: services.settings)
    assert verifying.verify_gate(words) == WELL
    assert gating_again.gate_again(first) == FAILED
    assert "it is the active version itself" in capsys.readouterr().err
    manifest.write_text("\n".join(manifest.read_text().splitlines()[:-1]) + "\n")
    assert gating_again.gate_again(words) == FAILED
    assert "are not what they were" in capsys.readouterr().err


def test_what_a_candidate_is_held_against_is_its_line(promoted: Services) -> None:
    recipe = quick_training.CLASSIFICATION
    with reading(promoted.sessions) as session:
        order = gating.order_of(session, recipe, Path("gate"), promoted.store)
        elsewhere = gating.order_of(session, recipe | {"name": "new"}, Path(), promoted.store)
    assert (elsewhere.active, elsewhere.line) == (None, ())
    assert order.active is not None
    assert order.active.name == "quick@1.0"
    assert order.active.cases is not None
    assert Path(order.active.cases).exists()
    assert order.line == (order.active,)
    assert files.GateOrder.of(json.loads(json.dumps(vars(order), default=vars))) == order
