"""Corrections over HTTP, and what to label next."""

from __future__ import annotations

import base64
import uuid
from typing import Any

import pytest
from sqlalchemy.orm import Session, sessionmaker

from records.keys import Role
from tests.api.http.conftest import Clients, problem
from tests.records.answered import Answered, scores


@pytest.fixture
def answered(sessions: sessionmaker[Session]) -> Answered:
    """An analysis with one classification."""
    return Answered(sessions)


def test_an_answer_is_replaced_listed_and_done_once(clients: Clients, answered: Answered) -> None:
    submitter = clients(Role.SUBMITTER)
    address = f"/v1/jobs/{answered.job(1, scores(0.9))}/corrections"
    body = {"step": "look", "verdict": "replace", "label": "bright"}
    once = {"Idempotency-Key": "k"}
    first, again = (submitter.post(address, json=body, headers=once) for _ in range(2))
    assert (first.status_code, first.json()) == (201, again.json())
    (said,) = submitter.get(address).json()
    assert (said["label"], said["series"], said["created_by"]) == ("bright", "2.25.1", "submitter")
    problem(clients(Role.VIEWER).post(address, json=body), 403, "forbidden")


def test_a_mask_travels_in_base64_and_stays_in_the_records(
    clients: Clients, sessions: sessionmaker[Session]
) -> None:
    job = Answered(sessions, "segmentation").job(1, [])
    submitter, address = clients(Role.SUBMITTER), f"/v1/jobs/{job}/corrections"
    mask = base64.b64encode(b"\x1f\x8b and so on").decode()
    body = {"step": "look", "verdict": "replace", "mask": mask}
    assert submitter.post(address, json=body).json()["mask"] == "nifti"
    problem(submitter.post(address, json=body | {"mask": "?"}), 422, "invalid")


@pytest.mark.parametrize(
    "body",
    [
        {"step": "look", "verdict": "maybe"},
        {"step": "look", "verdict": "replace", "label": "green"},
        {"step": "look", "verdict": "replace", "boxes": [{"label": "x"}]},
        {"verdict": "accept"},
    ],
)
def test_what_does_not_fit_is_refused(
    clients: Clients, answered: Answered, body: dict[str, Any]
) -> None:
    address = f"/v1/jobs/{answered.job(1, scores(0.9))}/corrections"
    problem(clients(Role.SUBMITTER).post(address, json=body), 422, "invalid")


def test_a_job_that_is_not_there_is_not_found(clients: Clients) -> None:
    address = f"/v1/jobs/{uuid.uuid4()}/corrections"
    body = {"step": "look", "verdict": "accept"}
    problem(clients(Role.SUBMITTER).post(address, json=body), 404, "not-found")


def test_the_least_sure_answers_are_listed(clients: Clients, answered: Answered) -> None:
    answered.job(1, scores(0.9))
    unsure = answered.job(2, scores(0.5))
    viewer = clients(Role.VIEWER)
    (case,) = viewer.get("/v1/analyses/light/uncertain?most=1").json()
    assert (case["job"], case["entropy"]) == (str(unsure), 1.0)
    problem(viewer.get("/v1/analyses/light/uncertain?most=0"), 422, "invalid")
