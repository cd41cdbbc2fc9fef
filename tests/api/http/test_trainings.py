"""Trainings and schedules over HTTP."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from records.keys import Role
from tests.api.http.conftest import Clients, World, problem


@pytest.fixture
def order(source: Path) -> dict[str, Any]:
    """A training that the API takes; the trainer judges the recipe."""
    manifest = source / "cases.csv"
    manifest.write_text("image,label\n")
    return {"recipe": {"name": "nodules"}, "manifest": str(manifest)}


def test_a_training_is_queued_listed_shown_and_canceled(
    clients: Clients, order: dict[str, Any]
) -> None:
    trainer = clients(Role.TRAINER)
    response = trainer.post("/v1/trainings", json=order)
    assert response.status_code == 201
    body = response.json()
    assert (body["status"], body["created_by"]) == ("queued", "trainer")
    address = f"/v1/trainings/{body['id']}"
    assert trainer.get(address).json()["recipe"] == order["recipe"]
    (item,) = trainer.get("/v1/trainings?status=queued").json()["items"]
    assert item["id"] == body["id"]
    assert trainer.post(f"{address}/cancel").json()["status"] == "canceled"
    problem(trainer.post(f"{address}/cancel"), 409, "conflict")


@pytest.mark.parametrize(
    ("begins_with", "status"),
    [
        ("weights.safetensors", 201),
        ("nodules@1.0", 201),
        ("missing.safetensors", 422),
        ("/etc/passwd", 403),
        ("../../secret.pt", 403),
    ],
)
@pytest.mark.parametrize("place", ["/v1/trainings", "/v1/schedules"])
def test_a_training_over_http_begins_with_no_file_outside_the_roots(
    clients: Clients, order: dict[str, Any], place: str, begins_with: str, status: int
) -> None:
    (Path(order["manifest"]).parent / "weights.safetensors").write_bytes(b"weights")
    recipe = order["recipe"] | {"transfer": {"source": begins_with}}
    more = {"name": "nightly", "cron": "0 3 * * *"} if place.endswith("schedules") else {}
    asked = clients(Role.TRAINER).post(place, json=order | {"recipe": recipe} | more)
    assert asked.status_code == status


def test_a_training_is_paused_and_resumed(clients: Clients, order: dict[str, Any]) -> None:
    trainer = clients(Role.TRAINER)
    address = f"/v1/trainings/{trainer.post('/v1/trainings', json=order).json()['id']}"
    assert trainer.post(f"{address}/pause").json()["status"] == "paused"
    problem(trainer.post(f"{address}/pause"), 409, "conflict")
    problem(clients(Role.VIEWER).post(f"{address}/resume"), 403, "forbidden")
    assert trainer.post(f"{address}/resume").json()["status"] == "queued"
    problem(trainer.post(f"{address}/resume"), 409, "conflict")


def test_a_manifest_lies_below_a_source_root(admin: TestClient, order: dict[str, Any]) -> None:
    outside = order | {"manifest": "/etc/passwd"}
    problem(admin.post("/v1/trainings", json=outside), 403, "source-refused")
    gone = order | {"manifest": order["manifest"] + "x"}
    problem(admin.post("/v1/trainings", json=gone), 422, "source-missing")


@pytest.mark.parametrize("recipe", [{}, [], "nodules", None])
def test_a_recipe_is_a_document(admin: TestClient, order: dict[str, Any], recipe: Any) -> None:
    problem(admin.post("/v1/trainings", json=order | {"recipe": recipe}), 422, "invalid")


def test_trainings_page_newest_first(admin: TestClient, world: World) -> None:
    ids = {str(world.training()) for _ in range(3)}
    first = admin.get("/v1/trainings?limit=2").json()
    second = admin.get("/v1/trainings", params={"limit": 2, "cursor": first["next"]}).json()
    assert {item["id"] for item in first["items"] + second["items"]} == ids


@pytest.mark.parametrize(
    ("trigger", "status"),
    [
        ({"new_cases": 5, "analysis": "light"}, 201),
        ({"on_drift": True, "analysis": "light"}, 201),
        ({"new_cases": 5}, 422),
        ({"on_drift": True, "new_cases": 5, "analysis": "light"}, 422),
        ({}, 422),
    ],
)
def test_a_schedule_has_one_trigger(
    admin: TestClient, order: dict[str, Any], trigger: dict[str, Any], status: int
) -> None:
    response = admin.post("/v1/schedules", json=order | {"name": "by-itself"} | trigger)
    assert response.status_code == status
    if status == 201:
        (listed,) = admin.get("/v1/schedules").json()["items"]
        assert trigger.items() <= listed.items()


def test_a_schedule_is_added_run_and_removed(admin: TestClient, order: dict[str, Any]) -> None:
    nightly = order | {"name": "nightly", "cron": "0 2 * * *"}
    response = admin.post("/v1/schedules", json=nightly)
    assert response.status_code == 201, response.text
    problem(admin.post("/v1/schedules", json=nightly), 409, "conflict")
    (item,) = admin.get("/v1/schedules").json()["items"]
    assert (item["name"], item["last_slot"]) == ("nightly", None)
    training = admin.post("/v1/schedules/nightly/run")
    assert training.status_code == 201
    assert training.json()["schedule_id"] == item["id"]
    assert admin.post("/v1/schedules/nightly/remove").json() == {"removed": "nightly"}
    problem(admin.post("/v1/schedules/nightly/remove"), 404, "not-found")
    assert len(admin.get("/v1/trainings").json()["items"]) == 1


@pytest.mark.parametrize(
    "cron", ["0 2 * *", "99 * * * *", "0 0 31 2 *", "* * * * * *", "hourly!!!"]
)
def test_a_line_that_is_not_cron_is_refused(
    admin: TestClient, order: dict[str, Any], cron: str
) -> None:
    schedule = order | {"name": "nightly", "cron": cron}
    problem(admin.post("/v1/schedules", json=schedule), 422, "invalid")


def test_unknown_ones_are_not_found(admin: TestClient) -> None:
    nobody = uuid.UUID(int=0)
    problem(admin.get(f"/v1/trainings/{nobody}"), 404, "not-found")
    problem(admin.post(f"/v1/trainings/{nobody}/cancel"), 404, "not-found")
    problem(admin.post("/v1/schedules/nothing/run"), 404, "not-found")
