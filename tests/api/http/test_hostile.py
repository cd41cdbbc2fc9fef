"""Bodies and addresses that try to break the API: always a problem, never a failure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from api.http.app import create_app
from api.http.guard import BODY_LIMIT
from api.http.parsing import MAX_DEPTH
from records.database import connect, session_factory
from tests.api.http.conftest import World, problem
from tests.conftest import BOTH
from worker.queue.settings import Settings

JSON = {"Content-Type": "application/json"}
BATCHES = "/v1/batches"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """SQLite only: nothing here depends on the kind of the database."""
    return sqlite_url


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nothing",
        b'{"source": NaN}',
        b'{"source": Infinity}',
        b'{"source": 1e400}',
        b'{"source": "a", "source": "b"}',
        rb'{"source": "\u0000"}',
        rb'{"\u0000": 1}',
        rb'{"source": "\ud800"}',
        b'{"source": "\xff\xfe"}',
        b'{"source": "\xed\xa0\x80"}',
        b'{"source": 123456789012345678901234567890}',
        b"[" * 10_000,
        b"[" * 10_000 + b"]" * 10_000,
        b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2),
        b'{"a":' * 500 + b"1" + b"}" * 500,
        b"1" * 5000,
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_not_plain_json_is_malformed(admin: TestClient, body: bytes) -> None:
    response = admin.post(BATCHES, content=body, headers=JSON)
    if body:
        problem(response, 400, "malformed")
    else:
        problem(response, 422, "invalid")


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
     "application/json; charset=utf-16", "application/vnd.x+json", "application/pickle"],
)  # fmt: skip
def test_other_content_types_are_refused(admin: TestClient, content_type: str) -> None:
    response = admin.post(BATCHES, content=b"{}", headers={"Content-Type": content_type})
    problem(response, 415, "unsupported-media-type")


def test_a_compressed_body_is_refused_unread(admin: TestClient) -> None:
    for encoding in ("gzip", "br", "gzip, gzip", "x"):
        headers = JSON | {"Content-Encoding": encoding}
        response = admin.post(BATCHES, content=b"\x1f\x8b" * 100, headers=headers)
        problem(response, 415, "unsupported-media-type")


def test_a_body_over_the_limit_is_refused_with_and_without_its_length(admin: TestClient) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(BODY_LIMIT // 2**16 + 2):
            yield b" " * 2**16

    problem(admin.post(BATCHES, content=b" " * (BODY_LIMIT + 1), headers=JSON), 413, "too-large")
    problem(admin.post(BATCHES, content=pieces(), headers=JSON), 413, "too-large")
    lying = JSON | {"Content-Length": "9" * 400}
    problem(admin.post(BATCHES, content=b"{}", headers=lying), 413, "too-large")
    wrong = JSON | {"Content-Length": "-1"}
    problem(admin.post(BATCHES, content=b"{}", headers=wrong), 400, "malformed")


@pytest.mark.parametrize(
    ("address", "status", "kind"),
    [
        ("/nothing", 404, "not-found"),
        ("/v1", 404, "not-found"),
        ("/v1/batches/", 404, "not-found"),
        ("/v1/batches/..%2f..%2fetc", 404, "not-found"),
        ("/v1/models/%00/versions/1", 400, "malformed"),
        ("/v1/models/a?x=%00", 400, "malformed"),
        ("/v1/audit?object_id=%00", 400, "malformed"),
        ("/v1/models/" + "x" * 9000, 413, "too-large"),
        ("/v1/batches/not-an-id", 422, "invalid"),
        ("/v1/models/%ff%fe", 404, "not-found"),
        ("/v1/models/%ed%a0%80", 404, "not-found"),
        ("/v1/models/%E2%80%AEtxt", 404, "not-found"),
    ],
)
def test_odd_addresses_are_problems(
    admin: TestClient, address: str, status: int, kind: str
) -> None:
    problem(admin.get(address), status, kind)


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "TRACE", "BREW"])
def test_other_methods_are_not_allowed(admin: TestClient, method: str) -> None:
    response = admin.request(method, BATCHES)
    problem(response, 405, "method-not-allowed")
    assert "allow" in response.headers


def test_every_answer_carries_the_security_headers(admin: TestClient) -> None:
    for address in ("/healthz", "/nothing", "/v1/batches", "/docs", "/metrics"):
        headers = admin.get(address).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
        assert re.fullmatch(r"[0-9a-f-]{36}", headers["x-request-id"])
        assert "access-control-allow-origin" not in headers


def test_an_unforeseen_error_says_nothing_but_its_request(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Any:
        raise KeyError("DOE^JANE in /secret/place")

    app = create_app(settings, broken)  # type: ignore[arg-type]  # no sessions at all
    client = TestClient(app, raise_server_exceptions=False)
    response = client.get("/v1/stats", headers={"Authorization": "Bearer nsk_a_b"})
    body = problem(response, 500, "internal")
    assert "DOE" not in str(body) + caplog.text
    assert "secret" not in str(body) + caplog.text
    assert "KeyError" in caplog.text
    assert body["instance"].removeprefix("urn:uuid:") in caplog.text


_text = st.text(max_size=40) | st.sampled_from(["stat", "..", "/", "ct-chest", "\u202e", "%00"])
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _text,
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(_text, parts, max_size=4),
    max_leaves=12,
)
_names = st.sampled_from(["source", "analyses", "priority", "recipe", "manifest", "why", "cron"])
_bodies = st.binary(max_size=200) | st.dictionaries(_names | _text, _values).map(
    lambda value: json.dumps(value).encode("utf-8", "surrogatepass")
)
_posts = st.sampled_from(
    [
        BATCHES,
        f"{BATCHES}/00000000-0000-0000-0000-000000000000/retry",
        "/v1/trainings",
        "/v1/schedules",
        "/v1/models/lung/versions/1/promote",
        "/v1/models/lung/versions/1/rollback",
    ]
)


@pytest.fixture(params=BOTH)
def hammered(
    request: pytest.FixtureRequest, settings: Settings, store: Path
) -> Iterator[TestClient]:
    """A client of an API without keys on each kind of database, with the world in it."""
    engine = connect(request.getfixturevalue(f"{request.param}_url"))
    sessions = session_factory(engine)
    World(sessions, store)
    app = create_app(settings.model_copy(update={"api_keys_required": False}), sessions)
    yield TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
    engine.dispose()


_hammer = hypothesis_settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@_hammer
@given(address=_posts, body=_bodies, key=st.none() | st.text(max_size=10))
def test_no_body_makes_the_server_fail(
    hammered: TestClient, address: str, body: bytes, key: str | None
) -> None:
    headers: dict[str, Any] = dict(JSON)
    if key is not None:
        headers["Idempotency-Key"] = key.encode("utf-8", "replace")
    response = hammered.post(address, content=body, headers=headers)
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json"


@_hammer
@given(
    address=st.sampled_from([BATCHES, "/v1/audit", "/v1/models", "/v1/trainings", "/v1/schedules"]),
    query=st.dictionaries(
        st.sampled_from(["cursor", "limit", "status", "stage", "object_id", "event_id"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    ),
)
def test_no_query_makes_the_server_fail(
    hammered: TestClient, address: str, query: dict[str, str]
) -> None:
    response = hammered.get(address, params=query)
    assert response.status_code < 500, response.text
