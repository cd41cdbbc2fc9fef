"""Drift over HTTP: as rows, as a page, as metrics."""

from __future__ import annotations

from fastapi.testclient import TestClient
from sqlalchemy.orm import Session, sessionmaker

from records.keys import Role
from tests.api.http.conftest import Clients, problem
from tests.records.looked import look

Sessions = sessionmaker[Session]


def test_the_last_look_is_shown_with_what_drifts_and_since_when(
    clients: Clients, sessions: Sessions
) -> None:
    viewer = clients(Role.VIEWER)
    assert viewer.get("/v1/drift").json() == []
    for drifted in (False, True, True):
        look(sessions, drifted=drifted)
    (row,) = viewer.get("/v1/drift").json()
    assert (row["analysis"], row["drifted"]) == ("light", True)
    assert row["since"] < row["looked_at"]
    assert row["document"]["comparisons"][0]["name"] == "tag.model_name"
    problem(clients().get("/v1/drift"), 401, "unauthenticated")


def test_the_page_shows_both_windows_without_scripts_and_escapes_words(
    admin: TestClient, sessions: Sessions
) -> None:
    assert "No look was taken yet" in admin.get("/v1/drift/page").text
    look(sessions, drifted=True)
    answer = admin.get("/v1/drift/page")
    assert answer.headers["content-type"].startswith("text/html")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "Drift in tag.model_name, since" in answer.text
    assert "&lt;Other&gt;: 25%, now 75%" in answer.text
    assert answer.text.count('<rect class="now" x=') == 4
    assert "<script" not in answer.text


def test_metrics_tell_drift_by_analysis_and_group(admin: TestClient, sessions: Sessions) -> None:
    assert 'nightshift_drift{analysis="light"}' not in admin.get("/metrics").text
    look(sessions, drifted=True)
    text = admin.get("/metrics").text
    assert 'nightshift_drift{analysis="light"} 1.0' in text
    assert 'nightshift_drift_values{analysis="light",group="tag"} 1.0' in text
    assert 'nightshift_drift_psi{analysis="light",group="tag"} 1.5' in text
    assert 'nightshift_drift_values{analysis="light",group="output"} 0.0' in text
