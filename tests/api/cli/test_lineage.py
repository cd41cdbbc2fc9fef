"""``nightshift models``: gates, lineage, recall, rerun and shadows, as an operator types them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from sqlalchemy import select

from api.cli import results
from records import gates, models, standing
from records.base import GateDecision, JobStatus
from records.database import unit_of_work
from records.gates import NewGate
from records.tables import Job
from tests.api.cli.conftest import Home, Shell

NAME = "threshold-lung"
STATEMENT: dict[str, Any] = {
    "verdict": {
        "findings": [
            {"sentence": "mean Dice is better: 0.9 after 0.8", "holds": True},
            {"sentence": "mean Dice of 0.9 misses 0.95", "holds": False},
        ]
    }
}


def add_candidate(home: Home, decision: GateDecision | None = None) -> None:
    """Register version 2, and its gate where it has one."""
    with unit_of_work(home.sessions) as session:
        new = models.NewModelVersion(
            name=NAME,
            version="2",
            digest="c" * 64,
            kind="threshold",
            path="bundles/c",
            bundle_metadata={},
        )
        row = models.register(session, new, by="tester")
        active = models.active(session, NAME)
        assert active is not None
        if decision is not None:
            page = b"<!DOCTYPE html>"
            gate = NewGate(
                model_version_id=row.id,
                active_id=active.id,
                decision=decision,
                sentence="mean Dice of 0.9 misses 0.95",
                statement=STATEMENT,
                page=hashlib.sha256(page).hexdigest(),
            )
            gates.add(session, gate, by="tester")
            place = home.path / "store" / "blobs" / gate.page[:2]
            place.mkdir(parents=True)
            (place / gate.page).write_bytes(page)


def test_a_version_without_a_gate_is_told_of(shell: Shell, home: Home) -> None:
    add_candidate(home)
    said = shell("models", "promote", NAME, "2", "--why", "newer")
    assert said.code == 1
    assert "was not held against the active version" in said.err
    assert "--override" in said.err
    assert shell("models", "gate", NAME, "2").code == 1


def test_a_gate_is_shown_condition_by_condition_and_stops_a_promotion(
    shell: Shell, home: Home, tmp_path: Path
) -> None:
    add_candidate(home, GateDecision.REFUSE)
    lines = shell("models", "gate", NAME, "2").out.splitlines()
    assert lines == [
        f"{NAME} 2 against 1: refuse",
        "  holds    mean Dice is better: 0.9 after 0.8",
        "  fails    mean Dice of 0.9 misses 0.95",
    ]
    (row,) = shell("models", "gate", NAME, "2", "--json").json
    assert (row["decision"], row["against"]) == ("refuse", "1")
    page = tmp_path / "gate.html"
    assert shell("models", "gate", NAME, "2", "--page", str(page)).code == 0
    assert page.read_text() == "<!DOCTYPE html>"
    promote = ("models", "promote", NAME, "2", "--why", "all the same")
    assert "the gate of threshold-lung 2 says refuse" in " ".join(
        shell(*promote).err.split()
    ).replace("The gate", "the gate")
    assert shell(*promote, "--override").code == 0


def test_a_recall_marks_the_results_and_its_studies_are_queued_again(
    shell: Shell, home: Home
) -> None:
    add_candidate(home)
    rows = shell("results", "--format", "json").json
    assert {row["standing"] for row in rows} == {"in force"}
    said = shell("models", "recall", NAME, "1", "--why", "wrong labels")
    assert "recalled with all its results; none is active" in said.out
    assert "Canceled, because none is: 1 job." in said.out
    assert {row["standing"] for row in shell("results", "--format", "json").json} == {"recalled"}
    recalled = shell("results", "--format", "json", "--standing", "recalled").json
    assert len(recalled) == len(rows)
    assert shell("results", "--format", "json", "--standing", "in force").json == []
    assert shell("models", "rerun", NAME, "1").code == 1
    assert shell("models", "promote", NAME, "2", "--why", "instead", "--override").code == 0
    (batch,) = shell("models", "rerun", NAME, "1", "--json").json["batches"]
    assert shell("status", batch, "--json").json["status"] == "scanning"
    (version, _) = shell("models", "list", NAME, "--json").json
    assert (version["stage"], version["withdrawn"]) == ("retired", "recalled")


def test_a_recall_tells_of_the_jobs_that_had_not_ended(shell: Shell, home: Home) -> None:
    add_candidate(home)
    assert shell("models", "promote", NAME, "2", "--why", "newer", "--override").code == 0
    with unit_of_work(home.sessions) as session:
        succeeded = session.scalars(select(Job).where(Job.status == JobStatus.SUCCEEDED)).one()
        succeeded.status = JobStatus.RUNNING
    recall = ("--why", "wrong labels")
    assert shell("models", "recall", NAME, "1", *recall).out.splitlines() == [
        f"{NAME} 1 is recalled with all its results; 2 is active.",
        "Waiting for 2 now instead of it: 1 job.",
        "Running with it still: 1 job. Wait for their end before the rerun.",
        f"`nightshift models rerun {NAME} 1` analyses its studies again.",
    ]
    said = shell("models", "recall", NAME, "2", *recall, "--json").json
    assert said == {"active": None, "rebound": 0, "canceled": 1, "running": 0}


def test_results_are_asked_for_by_the_words_of_the_records() -> None:
    assert [one.value for one in results.Standing] == [one.value for one in standing.Standing]


def test_lineage_tells_what_came_of_a_version(shell: Shell, home: Home) -> None:
    said = shell("models", "lineage", NAME, "1", "--json").json
    assert (said["jobs"], said["training"], said["gate"]) == ({"in force": 1}, None, None)
    uses = shell("models", "lineage", NAME, "1", "--jobs", "--json").json
    assert [(use["study"], use["status"]) for use in uses if use["status"] == "succeeded"] == [
        ("1.2.1", "succeeded")
    ]
    assert f"{'model':<14}{NAME}" in shell("models", "lineage", NAME, "1").out
    assert shell("models", "lineage", NAME, "9").code == 1


def test_a_candidate_is_let_run_beside_the_active_version(shell: Shell, home: Home) -> None:
    add_candidate(home)
    assert shell("models", "shadow", NAME, "2", "on").code == 0
    assert shell("models", "shadow-report", NAME, "2", "--json").json["is_on"] is True
    said = shell("models", "shadow-report", NAME, "2")
    assert said.out == "threshold-lung 2, shadow on: 0 studies\n"
    assert said.err == "No study differs.\n"
    assert shell("models", "shadow", NAME, "1", "on").code == 1
    assert shell("models", "shadow", NAME, "2", "off").code == 0
