"""Jobs over HTTP: look inside, fetch files, cancel, retry."""

from __future__ import annotations

import hashlib
import uuid

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from records.database import unit_of_work
from records.tables import Artifact
from tests.api.http.conftest import PICTURE, World, problem

NOBODY = uuid.UUID(int=0)


def test_a_job_shows_its_attempts_events_and_models(admin: TestClient, world: World) -> None:
    body = admin.get(f"/v1/jobs/{world.done}").json()
    assert [a["outcome"] for a in body["attempts"]] == ["lost", "succeeded"]
    assert [(e["from_status"], e["to_status"]) for e in body["events"]] == [("queued", "running")]
    assert [(m["step"], m["name"], m["version"]) for m in body["models"]] == [
        ("lungs", "lung", "1")
    ]
    assert body["study_instance_uid"] == "1.2.10"


def test_a_job_explains_itself(admin: TestClient, world: World) -> None:
    body = admin.get(f"/v1/jobs/{world.done}/explain").json()
    assert body["plan"] == {"inputs": {"ct": {}}}
    assert body["steps"] == []
    assert body["job"]["analysis"] == "ct-chest"


def test_a_job_has_its_own_results(admin: TestClient, world: World) -> None:
    assert len(admin.get(f"/v1/jobs/{world.done}/results").json()) == 3
    assert admin.get(f"/v1/jobs/{world.failed}/results").json() == []
    table = admin.get(f"/v1/jobs/{world.done}/results?format=csv").text
    assert len(table.splitlines()) == 4


def test_an_artifact_is_sent_as_bytes_that_no_browser_runs(admin: TestClient, world: World) -> None:
    (row,) = admin.get(f"/v1/jobs/{world.done}/artifacts").json()
    assert row["size"] == len(PICTURE)
    response = admin.get(f"/v1/jobs/{world.done}/artifacts/{row['name']}")
    assert response.content == PICTURE
    headers = response.headers
    assert headers["content-type"] == "image/png"
    assert headers["content-disposition"] == 'attachment; filename="overlay.png"'
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]
    assert headers["etag"] == f'"{hashlib.sha256(PICTURE).hexdigest()}"'


def test_a_range_of_ten_thousand_ranges_is_not_followed(admin: TestClient, world: World) -> None:
    ranges = "bytes=" + ",".join(f"{n}-{n}" for n in range(1000))
    address = f"/v1/jobs/{world.done}/artifacts/overlay.png"
    response = admin.get(address, headers={"Range": ranges})
    assert (response.status_code, response.content) == (200, PICTURE)


def test_names_and_types_from_a_model_do_no_harm_in_headers(
    admin: TestClient, world: World
) -> None:
    name = '..\\a"; x=".html'
    with unit_of_work(world.sessions) as session:
        session.execute(update(Artifact).values(name=name, media_type="text/html"))
    response = admin.get(f"/v1/jobs/{world.done}/artifacts/{name}")
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"] == 'attachment; filename="_a___x__.html"'


def test_a_file_that_left_the_store_is_gone(admin: TestClient, world: World) -> None:
    (blob,) = world.store.glob("blobs/*/*")
    address = f"/v1/jobs/{world.done}/artifacts/overlay.png"
    blob.write_bytes(b"short")
    problem(admin.get(address), 410, "artifact-gone")
    blob.unlink()
    blob.symlink_to("/etc/hostname")
    problem(admin.get(address), 410, "artifact-gone")
    blob.unlink()
    body = problem(admin.get(address), 410, "artifact-gone")
    assert str(world.store) not in str(body)


@pytest.mark.parametrize("name", ["nothing.png", "..%2f..%2fetc%2fpasswd", "%2e%2e", "a" * 200])
def test_other_names_are_not_found(admin: TestClient, world: World, name: str) -> None:
    response = admin.get(f"/v1/jobs/{world.done}/artifacts/{name}")
    assert response.status_code in {404, 422}
    assert response.headers["content-type"] == "application/problem+json"


def test_a_waiting_job_can_be_canceled_and_tried_again(admin: TestClient, world: World) -> None:
    (job,) = world.submit(1)
    assert admin.post(f"/v1/jobs/{job}/cancel").json()["status"] == "canceled"
    assert admin.post(f"/v1/jobs/{job}/retry").json()["status"] == "queued"


def test_retrying_a_job_of_a_lane_that_is_gone_brings_it_to_the_running_services(
    admin: TestClient, world: World
) -> None:
    world.move("run-gone")
    assert admin.post(f"/v1/jobs/{world.failed}/retry").json()["status"] == "queued"
    assert world.lane_of(world.failed) == "shared"


def test_a_job_that_succeeded_cannot_be_tried_again(admin: TestClient, world: World) -> None:
    problem(admin.post(f"/v1/jobs/{world.done}/retry"), 409, "conflict")


@pytest.mark.parametrize("what", ["", "/explain", "/results", "/artifacts", "/artifacts/x"])
def test_an_unknown_job_is_not_found(admin: TestClient, what: str) -> None:
    problem(admin.get(f"/v1/jobs/{NOBODY}{what}"), 404, "not-found")


@pytest.mark.parametrize("what", ["cancel", "retry"])
def test_an_unknown_job_cannot_be_changed(admin: TestClient, what: str) -> None:
    problem(admin.post(f"/v1/jobs/{NOBODY}/{what}"), 404, "not-found")
