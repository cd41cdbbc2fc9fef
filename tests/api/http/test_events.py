"""Event streams: heartbeats, a database that goes away, a limit, an end when the server stops."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import update

from api.http import events
from api.http.services import Services
from records.base import BatchStatus
from records.database import unit_of_work
from records.tables import Batch
from tests.api.http.conftest import World, problem


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """SQLite only: nothing here depends on the kind of the database."""
    return sqlite_url


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look and beat without waiting."""
    monkeypatch.setattr(events, "LOOK_S", 0.1)
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.0)


@pytest.fixture
def running(world: World) -> World:
    """The world with its batch running."""
    with unit_of_work(world.sessions) as session:
        session.execute(update(Batch).values(status=BatchStatus.RUNNING))
    return world


def _heard(app: FastAPI, batch_id: uuid.UUID, count: int) -> list[bytes]:
    async def listen() -> list[bytes]:
        services: Services = app.state.services
        stream: Any = events.stream(services, batch_id)
        body: AsyncIterator[bytes] = stream.body_iterator
        heard = [await anext(body) for _ in range(count)]
        assert services.streams.full(1)
        services.stopping.set()
        heard += [event async for event in body]
        assert not services.streams.full(1)
        return heard

    return asyncio.run(listen())


def test_silence_is_filled_with_heartbeats_until_the_server_stops(
    app: FastAPI, running: World
) -> None:
    retry, progress, *beats = _heard(app, running.batch_id, 5)
    assert retry == b"retry: 2000\n\n"
    assert progress.startswith(b"event: progress\n")
    assert set(beats) == {b": still here\n\n"}
    assert len(beats) <= 4


def test_a_stream_outlives_a_batch_that_cannot_be_read(app: FastAPI, running: World) -> None:
    assert _heard(app, uuid.uuid4(), 3)[1:3] == [b": still here\n\n"] * 2


def test_streams_have_a_limit(
    app: FastAPI, admin: TestClient, running: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MOST_STREAMS", 1)
    with app.state.services.streams:
        response = admin.get(f"/v1/batches/{running.batch_id}/events")
    problem(response, 503, "too-many-streams")
    assert response.headers["retry-after"] == "10"
