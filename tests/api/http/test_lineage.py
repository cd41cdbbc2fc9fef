"""Gates, snapshots, recall and rerun over HTTP."""

from __future__ import annotations

import hashlib
import uuid

from fastapi.testclient import TestClient

from records import gates, reruns
from records.base import GateDecision, JobStatus
from records.database import unit_of_work
from records.gates import NewGate
from records.keys import Role
from records.tables import Batch, Job, JobModel
from tests.api.http.conftest import Clients, World, problem

WHY = {"why": "trained on wrong labels"}
CANDIDATE = "/v1/models/lung/versions/2"
ACTIVE = "/v1/models/lung/versions/1"
PAGE = b"<!DOCTYPE html><title>gate</title>"
SNAPSHOT = "5" * 64


def put(world: World, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    place = world.store / "blobs" / digest[:2] / digest
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return digest


def decide(world: World, decision: GateDecision = GateDecision.PROMOTE) -> None:
    with unit_of_work(world.sessions) as session:
        new = NewGate(
            model_version_id=world.second_id,
            active_id=world.first_id,
            decision=decision,
            sentence="Dice is better",
            statement={"verdict": {"decision": decision.value}},
            page=put(world, PAGE),
        )
        gates.add(session, new, by="trainer")


def test_a_candidate_without_a_gate_is_not_promoted(admin: TestClient, world: World) -> None:
    problem(admin.post(f"{CANDIDATE}/promote", json=WHY), 409, "conflict")
    assert admin.get(f"{CANDIDATE}/gates").json() == []
    problem(admin.get(f"{CANDIDATE}/gates/page"), 404, "not-found")


def test_a_gate_is_shown_with_its_page_and_lets_a_candidate_pass(
    admin: TestClient, world: World
) -> None:
    decide(world, GateDecision.REFUSE)
    body = admin.post(f"{CANDIDATE}/promote", json=WHY).json()
    assert body["detail"] == "the gate of lung 2 says refuse: Dice is better"
    decide(world)
    newest, _ = admin.get(f"{CANDIDATE}/gates").json()
    assert (newest["decision"], newest["against"]) == ("promote", "1")
    assert admin.get(f"{CANDIDATE}/gates/page").content == PAGE
    assert admin.post(f"{CANDIDATE}/promote", json=WHY).json()["stage"] == "active"


def test_lineage_leads_to_the_results_and_a_recall_takes_them_back(
    clients: Clients, world: World
) -> None:
    viewer, approver = clients(Role.VIEWER), clients(Role.APPROVER)
    before = viewer.get(f"{ACTIVE}/lineage").json()
    assert (before["jobs"], before["training"], before["snapshot"]) == ({"in force": 1}, None, None)
    after = approver.post(f"{ACTIVE}/recall", json=WHY).json()
    assert (after["jobs"], after["withdrawn"]) == ({"recalled": 1}, "recalled")
    assert after["stage"] == "retired"
    rows = viewer.get(f"/v1/batches/{world.batch_id}/results").json()
    assert {row["standing"] for row in rows} == {"recalled"}
    problem(approver.post(f"{ACTIVE}/recall", json=WHY), 409, "conflict")


def test_a_recall_says_what_became_of_the_jobs_that_had_not_ended(
    admin: TestClient, world: World
) -> None:
    with unit_of_work(world.sessions) as session:
        for job, status in ((world.failed, "queued"), (world.rejected, "running")):
            session.get_one(Job, job).status = JobStatus(status)
            session.add(JobModel(job_id=job, step="lungs", model_version_id=world.first_id))
    admin.post(f"{CANDIDATE}/promote", json=WHY | {"override": True})
    said = admin.post(f"{ACTIVE}/recall", json=WHY).json()
    told = {name: said[name] for name in ("active", "rebound", "canceled", "running")}
    assert told == {"active": "2", "rebound": 1, "canceled": 0, "running": 1}


def test_studies_are_run_again_with_what_is_active_now(admin: TestClient, world: World) -> None:
    admin.post(f"{ACTIVE}/recall", json=WHY)
    problem(admin.post(f"{ACTIVE}/rerun"), 404, "not-found")  # nothing is active to run instead
    admin.post(f"{CANDIDATE}/promote", json=WHY | {"override": True})
    (batch,) = admin.post(f"{ACTIVE}/rerun").json()["batches"]
    assert admin.get(f"/v1/batches/{batch}").json()["status"] == "scanning"
    with unit_of_work(world.sessions) as session:
        again = reruns.asked(session.get_one(Batch, uuid.UUID(batch)))
        assert again is not None
        assert len(reruns.studies(session, again)) == 1


def test_a_candidate_is_let_run_beside_the_active_version(clients: Clients, world: World) -> None:
    trainer, viewer = clients(Role.TRAINER), clients(Role.VIEWER)
    assert trainer.post(f"{CANDIDATE}/shadow", json={"on": True}).json()["is_on"] is True
    report = viewer.get(f"{CANDIDATE}/shadow").json()
    assert (report["is_on"], report["studies"], report["kappa"]) == (True, 0, None)
    assert trainer.post(f"{CANDIDATE}/shadow", json={"on": False}).json()["is_on"] is False
    problem(trainer.post(f"{ACTIVE}/shadow", json={"on": True}), 409, "conflict")


def test_snapshots_are_listed_and_their_cases_fetched(admin: TestClient, world: World) -> None:
    cases = b'{"cases": []}'
    with unit_of_work(world.sessions) as session:
        gates.keep_snapshot(session, SNAPSHOT, {"training": 2, "held-out": 1}, put(world, cases))
    (item,) = admin.get("/v1/snapshots").json()["items"]
    assert item["counts"] == {"training": 2, "held-out": 1}
    assert admin.get(f"/v1/snapshots/{SNAPSHOT}").json() == item
    assert admin.get(f"/v1/snapshots/{SNAPSHOT}/cases").content == cases
    problem(admin.get(f"/v1/snapshots/{'6' * 64}"), 404, "not-found")
    problem(admin.get("/v1/snapshots/nonsense"), 422, "invalid")
