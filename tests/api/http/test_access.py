"""Who may do what: every route against every role, and what happens to the rest."""

from __future__ import annotations

import uuid

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from api.http.access import GRANTS, Permission
from api.http.app import ROUTERS, OpenDoor, create_app
from api.http.docs import permission_of
from records import keys
from records.database import reading, unit_of_work
from records.keys import Role
from records.tables import AuditRecord
from tests.api.http.conftest import Clients, problem
from worker.queue.settings import Settings

NOBODY = uuid.UUID(int=0)
READ, SUBMIT, TRAIN = Permission.READ, Permission.SUBMIT, Permission.TRAIN
APPROVE, AUDIT = Permission.APPROVE, Permission.AUDIT

#: every route that needs a key: (method, path, permission)
ROUTES = [
    ("POST", "/v1/batches", SUBMIT),
    ("GET", "/v1/batches", READ),
    ("GET", "/v1/batches/{batch_id}", READ),
    ("GET", "/v1/batches/{batch_id}/jobs", READ),
    ("GET", "/v1/batches/{batch_id}/events", READ),
    ("GET", "/v1/batches/{batch_id}/results", READ),
    ("POST", "/v1/batches/{batch_id}/cancel", SUBMIT),
    ("POST", "/v1/batches/{batch_id}/retry", SUBMIT),
    ("GET", "/v1/jobs/{job_id}", READ),
    ("GET", "/v1/jobs/{job_id}/explain", READ),
    ("GET", "/v1/jobs/{job_id}/results", READ),
    ("GET", "/v1/jobs/{job_id}/artifacts", READ),
    ("GET", "/v1/jobs/{job_id}/artifacts/{name}", READ),
    ("POST", "/v1/jobs/{job_id}/cancel", SUBMIT),
    ("POST", "/v1/jobs/{job_id}/retry", SUBMIT),
    ("POST", "/v1/jobs/{job_id}/corrections", SUBMIT),
    ("GET", "/v1/jobs/{job_id}/corrections", READ),
    ("GET", "/v1/analyses", READ),
    ("GET", "/v1/analyses/{analysis}/uncertain", READ),
    ("GET", "/v1/analyses/{name}/versions/{version}", READ),
    ("GET", "/v1/models", READ),
    ("GET", "/v1/models/{name}", READ),
    ("GET", "/v1/models/{name}/versions/{version}", READ),
    ("POST", "/v1/models/{name}/versions/{version}/promote", APPROVE),
    ("POST", "/v1/models/{name}/versions/{version}/rollback", APPROVE),
    ("POST", "/v1/models/{name}/versions/{version}/retire", APPROVE),
    ("GET", "/v1/models/{name}/versions/{version}/gates", READ),
    ("GET", "/v1/models/{name}/versions/{version}/gates/page", READ),
    ("GET", "/v1/models/{name}/versions/{version}/lineage", READ),
    ("POST", "/v1/models/{name}/versions/{version}/recall", APPROVE),
    ("POST", "/v1/models/{name}/versions/{version}/rerun", SUBMIT),
    ("GET", "/v1/models/{name}/versions/{version}/shadow", READ),
    ("POST", "/v1/models/{name}/versions/{version}/shadow", TRAIN),
    ("GET", "/v1/snapshots", READ),
    ("GET", "/v1/snapshots/{digest}", READ),
    ("GET", "/v1/snapshots/{digest}/cases", READ),
    ("POST", "/v1/trainings", TRAIN),
    ("GET", "/v1/trainings", READ),
    ("GET", "/v1/trainings/{training_id}", READ),
    ("POST", "/v1/trainings/{training_id}/cancel", TRAIN),
    ("POST", "/v1/trainings/{training_id}/pause", TRAIN),
    ("POST", "/v1/trainings/{training_id}/resume", TRAIN),
    ("GET", "/v1/drift", READ),
    ("GET", "/v1/drift/page", READ),
    ("POST", "/v1/schedules", TRAIN),
    ("GET", "/v1/schedules", READ),
    ("POST", "/v1/schedules/{name}/run", TRAIN),
    ("POST", "/v1/schedules/{name}/remove", TRAIN),
    ("GET", "/v1/audit", AUDIT),
    ("GET", "/v1/audit/verify", AUDIT),
    ("GET", "/v1/stats", READ),
]
OPEN = {"/healthz", "/readyz", "/metrics", "/docs"}


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """SQLite only: nothing here depends on the kind of the database."""
    return sqlite_url


def _address(path: str) -> str:
    return path.format(
        batch_id=NOBODY,
        job_id=NOBODY,
        training_id=NOBODY,
        name="nobody",
        version="1",
        digest="0" * 64,
        analysis="nobody",
    )


def test_every_route_is_in_the_table_with_its_permission() -> None:
    found = {
        (method, route.path, permission_of(route.dependant))
        for route in _routes()
        for method in route.methods or ()
    }
    assert {r for r in found if r[1] not in OPEN} == set(ROUTES)
    assert {path for _, path, permission in found if permission is None} == OPEN


def _routes() -> list[APIRoute]:
    return [route for r in ROUTERS for route in r.routes if isinstance(route, APIRoute)]


def test_each_role_passes_where_its_permission_is_asked_and_nowhere_else(clients: Clients) -> None:
    for role in Role:
        client = clients(role)
        for method, path, permission in ROUTES:
            response = client.request(method, _address(path))
            granted = permission in GRANTS[role]
            assert (response.status_code == 403) == (not granted), (role, method, path)
            assert response.status_code < 500, (role, method, path, response.text)


def test_without_a_key_nothing_is_answered(clients: Clients) -> None:
    stranger = clients()
    for method, path, _ in ROUTES:
        response = stranger.request(method, _address(path))
        problem(response, 401, "unauthenticated")
        assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer nsk_0_x", "Bearer " + "x" * 5000, "Bearer é"],
)
def test_what_is_not_a_key_is_refused(clients: Clients, header: str) -> None:
    response = clients().get("/v1/stats", headers={"Authorization": header.encode("latin-1")})
    problem(response, 401, "unauthenticated")


def test_a_revoked_key_and_an_altered_key_are_refused(
    clients: Clients, sessions: sessionmaker[Session]
) -> None:
    viewer = clients(Role.VIEWER)
    key = viewer.headers["Authorization"]
    assert viewer.get("/v1/stats").status_code == 200
    altered = key[:-1] + ("A" if key[-1] != "A" else "B")
    problem(viewer.get("/v1/stats", headers={"Authorization": altered}), 401, "unauthenticated")
    with unit_of_work(sessions) as session:
        keys.revoke(session, name="viewer", by="tester")
    problem(viewer.get("/v1/stats"), 401, "unauthenticated")


def test_a_refusal_is_audited_once_a_minute(
    clients: Clients, sessions: sessionmaker[Session]
) -> None:
    viewer = clients(Role.VIEWER)
    for _ in range(3):
        body = problem(viewer.get("/v1/audit"), 403, "forbidden")
        assert "audit" in body["detail"]
    with reading(sessions) as session:
        refused = select(AuditRecord).where(AuditRecord.event_id == "access.refused")
        (record,) = session.scalars(refused).all()
    assert record.active_participant == "viewer"
    assert record.participant_object_id == "GET /v1/audit"
    assert record.event_outcome_indicator == 4


def test_no_keys_are_needed_only_where_nobody_else_can_reach_the_port(
    settings: Settings, sessions: sessionmaker[Session]
) -> None:
    with pytest.raises(OpenDoor):
        create_app(_keyless(settings, api_host="0.0.0.0"), sessions)  # noqa: S104 - refused
    client = TestClient(create_app(_keyless(settings), sessions), base_url="http://localhost")
    assert client.get("/v1/audit").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "127.0.0.2:80"])
def test_without_keys_other_host_names_are_refused(
    settings: Settings, sessions: sessionmaker[Session], host: str
) -> None:
    client = TestClient(create_app(_keyless(settings), sessions), base_url="http://localhost")
    problem(client.get("/v1/stats", headers={"Host": host}), 403, "forbidden")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://[broken"])
def test_without_keys_other_sites_cannot_post(
    settings: Settings, sessions: sessionmaker[Session], origin: str
) -> None:
    client = TestClient(create_app(_keyless(settings), sessions), base_url="http://localhost")
    path = f"/v1/jobs/{NOBODY}/cancel"
    problem(client.post(path, headers={"Origin": origin}), 403, "forbidden")
    problem(client.post(path, headers={"Origin": "http://localhost:8080"}), 404, "not-found")


def _keyless(settings: Settings, **more: str) -> Settings:
    return settings.model_copy(update={"api_keys_required": False, **more})
