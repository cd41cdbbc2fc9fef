"""Gates: which one counts, and that nothing goes active without one that says so."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from records import audit, gates, models
from records.base import GateDecision, Stage, Withdrawal
from records.database import reading, unit_of_work
from records.gates import GateMissing, GateRefused, NewGate
from records.models import StageRefused
from records.tables import AuditRecord, Gate, Snapshot
from tests.records.test_models import active, promote, register

Sessions = sessionmaker[Session]


def decide(
    sessions: Sessions,
    version: str,
    decision: GateDecision = GateDecision.PROMOTE,
    *,
    against: str | None = None,
) -> None:
    with unit_of_work(sessions) as session:
        new = NewGate(
            model_version_id=models.get(session, "unet", version).id,
            active_id=models.get(session, "unet", against).id if against else None,
            decision=decision,
            sentence="Dice is better",
            statement={"rule": {}},
            page="0" * 64,
        )
        gates.add(session, new, by="trainer")


def approve(sessions: Sessions, version: str) -> None:
    with unit_of_work(sessions) as session:
        models.promote(session, "unet", version, by="grace", why="its gate says so")


def test_nothing_goes_active_without_a_gate(sessions: Sessions) -> None:
    register(sessions, "1.0")
    with pytest.raises(GateRefused, match=r"unet 1\.0 was not held against"):
        approve(sessions, "1.0")
    assert active(sessions) is None


def test_a_gate_lets_a_named_approver_promote(sessions: Sessions) -> None:
    register(sessions, "1.0")
    decide(sessions, "1.0")
    approve(sessions, "1.0")
    assert active(sessions) == "1.0"
    with reading(sessions) as session:
        gate = session.scalars(select(Gate)).one()
        decided, promoted = session.scalars(
            select(AuditRecord).order_by(AuditRecord.sequence).offset(1)
        )
        assert (decided.event_id, decided.detail["decision"]) == ("gate.decided", "promote")
        assert (promoted.active_participant, promoted.detail["gate"]) == ("grace", str(gate.id))
        assert audit.verify(session).ok


@pytest.mark.parametrize("decision", [GateDecision.REFUSE, GateDecision.CANNOT_DECIDE])
def test_a_gate_that_says_otherwise_stops_a_promotion(
    sessions: Sessions, decision: GateDecision
) -> None:
    register(sessions, "1.0")
    decide(sessions, "1.0", decision)
    with pytest.raises(GateRefused, match=f"says {decision}: Dice is better"):
        approve(sessions, "1.0")


def test_an_override_is_said_to_be_one_in_the_audit(sessions: Sessions) -> None:
    register(sessions, "1.0")
    decide(sessions, "1.0", GateDecision.REFUSE)
    promote(sessions, "1.0")
    with reading(sessions) as session:
        last = select(AuditRecord).order_by(AuditRecord.sequence.desc()).limit(1)
        assert session.scalars(last).one().detail["gate"] == "overridden"


def test_a_gate_counts_while_what_it_was_held_against_is_active(sessions: Sessions) -> None:
    register(sessions, "1.0", "1.1", "1.2")
    promote(sessions, "1.0")
    decide(sessions, "1.1", against="1.0")
    decide(sessions, "1.2", against="1.0")
    approve(sessions, "1.1")
    with pytest.raises(GateRefused, match=r"was held against 1\.0, and 1\.1 is active now"):
        approve(sessions, "1.2")
    decide(sessions, "1.2", against="1.1")
    approve(sessions, "1.2")
    assert active(sessions) == "1.2"


def test_a_gate_of_a_first_version_is_none_once_another_is_active(sessions: Sessions) -> None:
    register(sessions, "1.0", "1.1")
    decide(sessions, "1.1")
    promote(sessions, "1.0")
    with pytest.raises(GateRefused, match=r"held against no version, and 1\.0 is active now"):
        approve(sessions, "1.1")


def test_the_last_gate_is_the_one_that_counts(sessions: Sessions) -> None:
    register(sessions, "1.0")
    with pytest.raises(GateMissing), reading(sessions) as session:
        gates.latest(session, models.get(session, "unet", "1.0"))
    decide(sessions, "1.0", GateDecision.REFUSE)
    decide(sessions, "1.0", GateDecision.PROMOTE)
    with reading(sessions) as session:
        version = models.get(session, "unet", "1.0")
        assert gates.latest(session, version).decision is GateDecision.PROMOTE
        assert len(gates.of(session, version)) == 2


def test_a_rollback_withdraws_and_a_promotion_takes_that_back(sessions: Sessions) -> None:
    def withdrawn() -> list[Withdrawal | None]:
        with reading(sessions) as session:
            return [row.withdrawn for row in models.versions(session, "unet")]

    register(sessions, "1.0", "1.1")
    promote(sessions, "1.0")
    promote(sessions, "1.1")
    assert withdrawn() == [None, None]
    with unit_of_work(sessions) as session:
        models.rollback(session, "unet", by="grace", why="a bad night")
    assert withdrawn() == [None, Withdrawal.ROLLED_BACK]
    promote(sessions, "1.1")
    assert withdrawn() == [None, None]


def test_what_was_recalled_does_not_come_back(sessions: Sessions) -> None:
    register(sessions, "1.0", "1.1")
    promote(sessions, "1.0")
    promote(sessions, "1.1")
    with unit_of_work(sessions) as session:
        models.get(session, "unet", "1.0").withdrawn = Withdrawal.RECALLED
    with pytest.raises(StageRefused, match="was recalled"), unit_of_work(sessions) as session:
        models.rollback(session, "unet", by="grace", why="a bad night")
    with pytest.raises(StageRefused, match="was recalled"):
        promote(sessions, "1.0")
    with reading(sessions) as session:
        assert models.get(session, "unet", "1.1").stage is Stage.ACTIVE


def test_a_snapshot_is_kept_once(sessions: Sessions) -> None:
    for _ in range(2):
        with unit_of_work(sessions) as session:
            gates.keep_snapshot(session, "a" * 64, {"training": 3}, "b" * 64)
    with reading(sessions) as session:
        assert session.scalars(select(Snapshot)).one().counts == {"training": 3}
