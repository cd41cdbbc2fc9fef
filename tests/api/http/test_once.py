"""A POST that is sent twice under one Idempotency-Key is done once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from records.database import reading
from records.keys import Role
from records.tables import Batch
from tests.api.http.conftest import Clients, World, problem

KEY = {"Idempotency-Key": "order-1"}


@pytest.fixture
def order(source: Path) -> dict[str, Any]:
    """A batch that the API takes."""
    return {"source": str(source), "analyses": ["ct-chest"]}


def test_the_same_request_has_the_same_answer(
    admin: TestClient, world: World, order: dict[str, Any]
) -> None:
    first = admin.post("/v1/batches", json=order, headers=KEY)
    again = admin.post("/v1/batches", json=dict(reversed(order.items())), headers=KEY)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"


def test_another_request_under_the_key_is_refused(
    admin: TestClient, world: World, order: dict[str, Any]
) -> None:
    admin.post("/v1/batches", json=order, headers=KEY)
    other = order | {"priority": "urgent"}
    problem(admin.post("/v1/batches", json=other, headers=KEY), 409, "idempotency-conflict")
    elsewhere = admin.post(f"/v1/jobs/{world.failed}/retry", headers=KEY)
    problem(elsewhere, 409, "idempotency-conflict")


def test_twenty_threads_make_one_batch(
    admin: TestClient, world: World, order: dict[str, Any]
) -> None:
    def post(_: int) -> str:
        response = admin.post("/v1/batches", json=order, headers=KEY)
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    with ThreadPoolExecutor(20) as pool:
        assert len(set(pool.map(post, range(20)))) == 1
    with reading(world.sessions) as session:
        assert session.scalar(select(func.count()).select_from(Batch)) == 2


def test_a_retry_under_a_key_is_done_once(admin: TestClient, world: World) -> None:
    address = f"/v1/jobs/{world.failed}/retry"
    assert admin.post(address, headers=KEY).json()["status"] == "queued"
    admin.post(f"/v1/jobs/{world.failed}/cancel")
    assert admin.post(address, headers=KEY).json()["status"] == "queued"
    assert admin.get(f"/v1/jobs/{world.failed}").json()["status"] == "canceled"


def test_a_refused_request_does_not_use_up_its_key(
    admin: TestClient, world: World, order: dict[str, Any]
) -> None:
    wrong = order | {"analyses": ["nothing"]}
    problem(admin.post("/v1/batches", json=wrong, headers=KEY), 422, "unknown-analysis")
    assert admin.post("/v1/batches", json=order, headers=KEY).status_code == 201


def test_keys_of_two_callers_do_not_meet(
    clients: Clients, world: World, order: dict[str, Any]
) -> None:
    one, other = clients(Role.ADMIN), clients(Role.SUBMITTER)
    first = one.post("/v1/batches", json=order, headers=KEY).json()
    second = other.post("/v1/batches", json=order, headers=KEY).json()
    assert first["id"] != second["id"]


@pytest.mark.parametrize("key", ["", "a b", "x" * 121, "é"])
def test_a_key_is_short_plain_text(
    admin: TestClient, world: World, order: dict[str, Any], key: str
) -> None:
    headers = {"Idempotency-Key": key.encode("latin-1")}
    problem(admin.post("/v1/batches", json=order, headers=headers), 422, "invalid")
