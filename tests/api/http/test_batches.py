"""Batches over HTTP: submit, list, look inside, cancel, retry, read results."""

from __future__ import annotations

import csv
import io
import os
import uuid
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from records.database import reading
from records.listing import COLUMNS
from records.tables import AuditRecord, Batch
from tests.api.http.conftest import World, problem

NOBODY = uuid.UUID(int=0)


def _order(source: Path | str, **more: Any) -> dict[str, Any]:
    return {"source": str(source), "analyses": ["ct-chest"], **more}


def test_a_submitted_batch_is_rows_and_an_audit_record(
    admin: TestClient, world: World, source: Path
) -> None:
    order = _order(source, analyses=["ct-chest@1"], priority="stat")
    response = admin.post("/v1/batches", json=order)
    assert response.status_code == 201
    body = response.json()
    assert body["status"] == "scanning"
    assert body["queue"] == "infer.stat"
    assert body["created_by"] == "admin"
    assert body["progress"]["total"] == 0
    assert admin.get(f"/v1/batches/{body['id']}").json()["source"] == str(source)
    with reading(world.sessions) as session:
        about = AuditRecord.participant_object_id == body["id"]
        (record,) = session.scalars(select(AuditRecord).where(about))
    assert (record.event_id, record.active_participant) == ("batch.created", "admin")


def test_an_unknown_analysis_is_named(admin: TestClient, world: World, source: Path) -> None:
    order = _order(source, analyses=["ct-chest", "ct-chest@9", "nothing"])
    body = problem(admin.post("/v1/batches", json=order), 422, "unknown-analysis")
    assert body["detail"] == "Not registered: ct-chest@9, nothing."


def test_the_same_analysis_twice_is_run_once_and_none_means_all(
    admin: TestClient, world: World, source: Path
) -> None:
    twice = _order(source, analyses=["ct-chest", "ct-chest@1", "ct-chest"])
    assert admin.post("/v1/batches", json=twice).json()["analyses"] == ["ct-chest"]
    body = admin.post("/v1/batches", json={"source": str(source)}).json()
    assert body["analyses"] == []


def test_sources_outside_the_roots_are_refused_whether_they_exist_or_not(
    admin: TestClient, world: World, source: Path, tmp_path: Path
) -> None:
    for place in ["/etc", "/no/such/place", str(tmp_path), f"{source}/../..", "export", "~"]:
        body = problem(admin.post("/v1/batches", json=_order(place)), 403, "source-refused")
        assert place not in body["detail"]


def test_a_link_below_a_root_is_refused_even_where_it_stays_inside(
    admin: TestClient, world: World, source: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "secret"
    outside.mkdir()
    (outside / "inner").mkdir()
    (source / "out").symlink_to(outside)
    (source / "in").symlink_to(source)
    for place in [source / "out", source / "out" / "inner", source / "in"]:
        response = admin.post("/v1/batches", json=_order(place))
        assert response.status_code in {403, 422}, response.text
        assert "secret" not in response.text


def test_a_pipe_is_no_source_and_does_not_hang(
    admin: TestClient, world: World, source: Path
) -> None:
    os.mkfifo(source / "pipe")
    problem(admin.post("/v1/batches", json=_order(source / "pipe")), 403, "source-refused")


def test_a_place_that_is_not_there_is_said_to_be_missing(
    admin: TestClient, world: World, source: Path
) -> None:
    for place in [source / "gone", source / "gone" / "below", source / ("x" * 300)]:
        body = problem(admin.post("/v1/batches", json=_order(place)), 422, "source-missing")
        assert str(source) not in str(body)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"source": ""}, "/body/source"),
        ({"source": 5}, "/body/source"),
        ({"analyses": ["ct chest"]}, "/body/analyses/0"),
        ({"analyses": ["a"] * 33}, "/body/analyses"),
        ({"priority": "now"}, "/body/priority"),
        ({"out": "results"}, "/body/out"),
    ],
)
def test_faults_of_a_request_are_listed_without_what_was_sent(
    admin: TestClient, world: World, source: Path, change: dict[str, Any], pointer: str
) -> None:
    body = problem(admin.post("/v1/batches", json=_order(source) | change), 422, "invalid")
    assert body["errors"][0]["pointer"] == pointer
    assert str(source) not in str(body)


def test_pages_are_stable_while_batches_arrive(admin: TestClient, world: World) -> None:
    old = [str(world.batch_id), *map(str, world.add_batches(6))]
    seen: list[str] = []
    cursor: str | None = None
    for turn in range(10):
        query: dict[str, Any] = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = admin.get("/v1/batches", params=query).json()
        seen += [item["id"] for item in page["items"]]
        world.add_batches(1, start=100 + turn)
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == old[::-1]


def test_a_list_can_be_narrowed_to_a_status(admin: TestClient, world: World) -> None:
    assert admin.get("/v1/batches?status=failed").json() == {"items": [], "next": None}
    (item,) = admin.get("/v1/batches?status=finished").json()["items"]
    assert item["jobs"] == {"succeeded": 1, "rejected": 1, "failed": 1}
    assert item["studies"] == 3
    problem(admin.get("/v1/batches?status=asleep"), 422, "invalid")


def test_a_batch_shows_its_counts(admin: TestClient, world: World) -> None:
    body = admin.get(f"/v1/batches/{world.batch_id}").json()
    assert body["files"] == {"file.not_dicom": 1, "ok": 2}
    assert body["series"] == {"ok": 1}
    assert body["seconds"] == 300.0
    progress = body["progress"]
    assert (progress["done"], progress["total"], progress["closed"]) == (3, 3, True)
    assert progress["jobs_per_minute"] is None


def test_jobs_page_in_order_and_narrow_to_statuses(admin: TestClient, world: World) -> None:
    address = f"/v1/batches/{world.batch_id}/jobs"
    first = admin.get(address, params={"limit": 2}).json()
    second = admin.get(address, params={"limit": 2, "cursor": first["next"]}).json()
    ids = [item["id"] for item in first["items"] + second["items"]]
    assert ids == [str(j) for j in (world.done, world.rejected, world.failed)]
    assert second["next"] is None
    some = admin.get(address, params={"status": ["failed", "rejected"]}).json()["items"]
    assert [item["reason"] for item in some] == ["series.missing_slice", "run.out_of_memory"]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=-1", "limit=501", "limit=1e400", f"limit={2**63}", "limit=x", "limit="],
)
def test_page_sizes_have_bounds(admin: TestClient, query: str) -> None:
    problem(admin.get(f"/v1/batches?{query}"), 422, "invalid")


@pytest.mark.parametrize(
    "cursor",
    ["x", "", "W10", "====", "é", "bnVsbA", "WyJhdWRpdCIsIjEiXQ", "WyJiYXRjaGVzIiwieCIsInkiXQ"],
)
def test_a_cursor_of_nobody_is_refused(admin: TestClient, cursor: str) -> None:
    problem(admin.get("/v1/batches", params={"cursor": cursor}), 400, "bad-cursor")


def test_canceling_ends_what_waits(admin: TestClient, world: World, source: Path) -> None:
    batch = admin.post("/v1/batches", json=_order(source)).json()
    (job,) = world.submit(1, batch_id=uuid.UUID(batch["id"]))
    body = admin.post(f"/v1/batches/{batch['id']}/cancel").json()
    assert body["status"] == "canceled"
    assert body["jobs"] == {"canceled": 1}
    assert admin.get(f"/v1/jobs/{job}").json()["status"] == "canceled"


def test_retrying_queues_failed_jobs_and_with_a_cause_rejected_ones(
    admin: TestClient, world: World
) -> None:
    address = f"/v1/batches/{world.batch_id}/retry"
    assert admin.post(address).json()["jobs"] == {"succeeded": 1, "rejected": 1, "queued": 1}
    body = admin.post(address, json={"cause": "series"}).json()
    assert body["jobs"] == {"succeeded": 1, "queued": 2}
    assert body["status"] == "running"
    problem(admin.post(address, json={"cause": "DROP TABLE"}), 422, "invalid")


def test_retrying_a_batch_of_a_lane_that_is_gone_brings_it_to_the_running_services(
    admin: TestClient, world: World
) -> None:
    world.move("run-gone")
    body = admin.post(f"/v1/batches/{world.batch_id}/retry").json()
    assert (body["lane"], body["jobs"]["queued"]) == ("shared", 1)
    assert world.lane_of(world.failed) == "shared"


def test_results_come_by_step_series_and_ordinal(admin: TestClient, world: World) -> None:
    rows = admin.get(f"/v1/batches/{world.batch_id}/results").json()
    assert [row["label"] for row in rows] == ["left lung", "right lung", "trachea, left"]
    assert tuple(rows[0])[: len(COLUMNS)] == COLUMNS
    assert rows[0]["payload"] == {"box": [1, 2]}
    assert rows[0]["study"] == "1.2.10"


def test_results_as_csv_have_the_columns_and_stable_numbers(
    admin: TestClient, world: World
) -> None:
    response = admin.get(f"/v1/batches/{world.batch_id}/results?format=csv")
    assert response.headers["content-type"].startswith("text/csv")
    assert response.headers["content-disposition"].startswith("attachment;")
    header, *rows = csv.reader(io.StringIO(response.text))
    assert tuple(header) == COLUMNS
    shown = [(row[9], row[11], row[13]) for row in rows]
    assert shown == [
        ("left lung", "", ""),
        ("right lung", "2e+06", ""),
        ("trachea, left", "0.3", "0.5000"),
    ]


def test_reading_results_leaves_an_audit_record(admin: TestClient, world: World) -> None:
    admin.get(f"/v1/batches/{world.batch_id}/results")
    trail = admin.get("/v1/audit", params={"event_id": "results.read"}).json()["items"]
    assert [(r["active_participant"], r["event_action_code"]) for r in trail] == [("admin", "R")]


def test_results_of_a_batch_without_any_are_an_empty_list(admin: TestClient, world: World) -> None:
    (empty,) = world.add_batches(1)
    assert admin.get(f"/v1/batches/{empty}/results").json() == []


@pytest.mark.parametrize("what", ["", "/jobs", "/events", "/results"])
def test_an_unknown_batch_is_not_found(admin: TestClient, what: str) -> None:
    problem(admin.get(f"/v1/batches/{NOBODY}{what}"), 404, "not-found")


@pytest.mark.parametrize("what", ["cancel", "retry"])
def test_an_unknown_batch_cannot_be_changed(admin: TestClient, what: str) -> None:
    problem(admin.post(f"/v1/batches/{NOBODY}/{what}"), 404, "not-found")


def test_a_refused_request_leaves_no_row(
    admin: TestClient, sessions: sessionmaker[Session], source: Path
) -> None:
    problem(admin.post("/v1/batches", json=_order(source)), 422, "unknown-analysis")
    with reading(sessions) as session:
        assert session.scalars(select(Batch)).all() == []
