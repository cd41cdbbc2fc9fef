"""The API describes itself: a valid document, a page without scripts."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.http.problems import KINDS, Kind
from tests.api.http.conftest import Clients

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """SQLite only: nothing here depends on the kind of the database."""
    return sqlite_url


def _document(clients: Clients) -> dict[str, Any]:
    response = clients().get("/openapi.json")
    assert response.status_code == 200
    document: dict[str, Any] = response.json()
    return document


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(_references(part) for part in value.values()))
    if isinstance(value, list):
        return set().union(*(_references(part) for part in value))
    return set()


def test_every_operation_is_described_and_may_answer_a_problem(clients: Clients) -> None:
    document = _document(clients)
    operations = [
        (path, method, said)
        for path, methods in document["paths"].items()
        for method, said in methods.items()
    ]
    assert len(operations) > 30
    for path, method, said in operations:
        assert method in METHODS
        assert said["summary"], path
        assert said["description"], path
        assert said["tags"], path
        assert "application/problem+json" in said["responses"]["default"]["content"]
        declared = {p["name"] for p in said.get("parameters", []) if p["in"] == "path"}
        assert declared == set(re.findall(r"{(\w+)}", path)), path
    names = [said["operationId"] for _, _, said in operations]
    assert len(set(names)) == len(names)


def test_every_reference_of_the_document_leads_somewhere(clients: Clients) -> None:
    document = _document(clients)
    assert document["openapi"].startswith("3.1")
    for reference in _references(document):
        here: Any = document
        for part in reference.removeprefix("#/").split("/"):
            here = here[part]
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_what_needs_a_key_says_so_and_names_the_roles(clients: Clients) -> None:
    document = _document(clients)
    promote = document["paths"]["/v1/models/{name}/versions/{version}/promote"]["post"]
    assert promote["x-roles"] == ["approver", "admin"]
    for path, methods in document["paths"].items():
        for said in methods.values():
            assert ("security" in said) == path.startswith("/v1/")


def test_every_kind_of_problem_has_a_status_and_a_title() -> None:
    assert set(KINDS) == set(Kind)
    assert all(400 <= status <= 599 and title for status, title in KINDS.values())


def test_the_page_shows_every_operation_and_loads_nothing(clients: Clients) -> None:
    client: TestClient = clients()
    html = client.get("/docs").text
    for path, methods in _document(clients).items():
        if path == "paths":
            assert all(address in html for address in methods)
    assert not re.search(r"<script|src=|@import|url\(|https?://(?!127\.0\.0\.1)", html)
