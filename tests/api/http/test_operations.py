"""Audit, stats, health, metrics."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from api.http.app import create_app
from records.database import connect, session_factory, unit_of_work, upgrade
from records.keys import Role
from records.tables import Job
from tests.api.http.conftest import AT, Clients, World, problem
from worker.queue.settings import Settings


def test_the_audit_trail_pages_newest_first_and_verifies(clients: Clients) -> None:
    for role in (Role.VIEWER, Role.TRAINER, Role.AUDITOR):
        auditor = clients(role)
    first = auditor.get("/v1/audit?limit=2").json()
    second = auditor.get("/v1/audit", params={"limit": 2, "cursor": first["next"]}).json()
    sequences = [r["sequence"] for r in first["items"] + second["items"]]
    assert sequences == [3, 2, 1]
    verdict = auditor.get("/v1/audit/verify").json()
    assert verdict == {
        "ok": True,
        "count": 3,
        "first_bad_sequence": None,
        "sentence": "All 3 audit records are as they were written.",
    }


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"event_id": "key.created"}, 1),
        ({"event_id": "nothing"}, 0),
        ({"active_participant": "tester", "object_type": "api_key"}, 1),
        ({"object_id": "admin"}, 1),
        ({"object_id": "' OR 1=1 --"}, 0),
    ],
)
def test_the_audit_trail_can_be_narrowed(
    admin: TestClient, query: dict[str, str], count: int
) -> None:
    assert len(admin.get("/v1/audit", params=query).json()["items"]) == count


def test_stats_count_queues_leases_models_and_results(admin: TestClient, world: World) -> None:
    (job,) = world.submit(1)
    with unit_of_work(world.sessions) as session:
        row = session.get_one(Job, job)
        row.status, row.lease_until = row.status.RUNNING, AT
    world.submit(2)
    body = admin.get("/v1/stats").json()
    (queue,) = body["queues"]
    assert queue["jobs"] == {"failed": 1, "queued": 2, "rejected": 1, "running": 1, "succeeded": 1}
    assert queue["oldest_queued_seconds"] > 0
    assert body["job_leases"] == {"running": 0, "expired": 1}
    assert body["publish"]["unsent"] == 2
    assert body["model_stages"] == {"active": 1, "candidate": 1, "retired": 1}
    assert body["results"] == {"segment": 3}


def test_metrics_count_answers_by_route_never_by_address(
    clients: Clients, admin: TestClient, world: World
) -> None:
    admin.get(f"/v1/jobs/{world.done}")
    admin.get("/v1/nothing/DOE^JANE")
    text = clients().get("/metrics").text
    assert 'route="/v1/jobs/{job_id}",status="200"' in text
    assert str(world.done) not in text
    assert "DOE" not in text
    assert 'nightshift_jobs{queue="infer.routine",status="failed"} 1.0' in text
    assert "nightshift_database_up 1.0" in text


def test_health_needs_nothing(clients: Clients) -> None:
    assert clients().get("/healthz").json() == {"status": "alive"}


def test_without_a_broker_the_api_is_degraded_but_serves(clients: Clients) -> None:
    response = clients().get("/readyz")
    body = response.json()
    assert (response.status_code, body["status"]) == (200, "degraded")
    assert body["database"]["ok"]
    assert body["tables"]["ok"]
    assert "nobody.sock" not in response.text


def test_with_a_broker_the_api_is_ready(
    settings: Settings, sessions: sessionmaker[Session], redis_server: str
) -> None:
    ready = settings.model_validate(settings.model_dump() | {"broker_url": redis_server})
    body = TestClient(create_app(ready, sessions)).get("/readyz").json()
    assert body["status"] == "ready"


def test_without_tables_the_api_is_not_ready_and_says_so(
    settings: Settings, bare_database_url: str
) -> None:
    bare = settings.model_validate(settings.model_dump() | {"database_url": bare_database_url})
    engine = connect(bare_database_url)
    client = TestClient(create_app(bare, session_factory(engine)))
    response = client.get("/readyz")
    assert (response.status_code, response.json()["status"]) == (503, "unready")
    assert "nightshift db upgrade" in response.json()["tables"]["sentence"]
    engine.dispose()


def test_while_the_database_is_away_answers_are_problems_and_metrics_go_on(
    settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "gone"
    url = f"sqlite:///{folder}/nightshift.db"
    upgrade(url)
    engine = connect(url)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    client = TestClient(create_app(settings, session_factory(engine)))
    response = client.get("/v1/stats", headers={"Authorization": "Bearer nsk_a_b"})
    body = problem(response, 503, "unavailable")
    assert str(tmp_path) not in str(body)
    assert response.headers["retry-after"] == "5"
    assert "nightshift_database_up 0.0" in client.get("/metrics").text
    assert client.get("/readyz").status_code == 503
    engine.dispose()
