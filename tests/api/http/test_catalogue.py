"""Analyses and models over HTTP: what is in force, and who changed it."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from records.keys import Role
from tests.api.http.conftest import Clients, World, problem

WHY = {"why": "gate passed on the locked test set"}
OVERRIDE = WHY | {"override": True}


def _stages(client: TestClient) -> dict[str, str]:
    items = client.get("/v1/models").json()["items"]
    return {f"{item['name']}@{item['version']}": item["stage"] for item in items}


def test_analyses_are_listed_and_shown(admin: TestClient, world: World) -> None:
    (item,) = admin.get("/v1/analyses").json()["items"]
    assert (item["name"], item["title"]) == ("ct-chest", "Chest")
    body = admin.get("/v1/analyses/ct-chest/versions/1").json()
    assert [step["name"] for step in body["document"]["steps"]] == ["lungs", "air"]
    problem(admin.get("/v1/analyses/ct-chest/versions/2"), 404, "not-found")


def test_models_are_listed_by_name_and_stage(admin: TestClient, world: World) -> None:
    assert _stages(admin) == {"body@1": "retired", "lung@1": "active", "lung@2": "candidate"}
    versions = [item["version"] for item in admin.get("/v1/models/lung").json()["items"]]
    assert versions == ["1", "2"]
    (active,) = admin.get("/v1/models?stage=active").json()["items"]
    assert active["name"] == "lung"
    problem(admin.get("/v1/models/nothing"), 404, "not-found")


def test_a_model_version_is_shown_without_its_place(admin: TestClient, world: World) -> None:
    body = admin.get("/v1/models/lung/versions/1").json()
    assert body["metadata"] == {"task": "lungs"}
    assert "path" not in body


def test_promotion_and_rollback_say_who_and_why(clients: Clients, world: World) -> None:
    approver, auditor = clients(Role.APPROVER), clients(Role.AUDITOR)
    body = approver.post("/v1/models/lung/versions/2/promote", json=OVERRIDE).json()
    assert body["stage"] == "active"
    assert _stages(approver)["lung@1"] == "retired"
    back = approver.post("/v1/models/lung/versions/2/rollback", json=WHY).json()
    assert (back["version"], back["stage"]) == ("1", "active")
    trail = auditor.get("/v1/audit", params={"object_type": "model_version"}).json()["items"]
    said = [(r["event_id"], r["active_participant"], r["detail"]["why"]) for r in trail]
    assert said == [
        ("model.rolled_back", "approver", WHY["why"]),
        ("model.promoted", "approver", WHY["why"]),
    ]


def test_only_the_active_version_is_rolled_back(admin: TestClient, world: World) -> None:
    admin.post("/v1/models/lung/versions/2/promote", json=OVERRIDE)
    address = "/v1/models/lung/versions/2/rollback"
    assert admin.post(address, json=WHY).status_code == 200
    problem(admin.post(address, json=WHY), 409, "conflict")
    problem(admin.post("/v1/models/lung/versions/1/rollback", json=WHY), 409, "conflict")


def test_retiring_the_active_version_leaves_none(admin: TestClient, world: World) -> None:
    address = "/v1/models/lung/versions/1/retire"
    assert admin.post(address, json=WHY).json()["stage"] == "retired"
    assert "active" not in _stages(admin).values()
    problem(admin.post(address, json=WHY), 409, "conflict")


@pytest.mark.parametrize("body", [{}, {"why": ""}, {"why": "   "}, {"why": 1}, {"why": "x" * 2000}])
@pytest.mark.parametrize("what", ["promote", "rollback", "retire"])
def test_a_reason_is_required(
    admin: TestClient, world: World, what: str, body: dict[str, Any]
) -> None:
    problem(admin.post(f"/v1/models/lung/versions/1/{what}", json=body), 422, "invalid")


@pytest.mark.parametrize("what", ["promote", "rollback", "retire"])
def test_an_unknown_version_is_not_found(admin: TestClient, world: World, what: str) -> None:
    problem(admin.post(f"/v1/models/lung/versions/7/{what}", json=WHY), 404, "not-found")
