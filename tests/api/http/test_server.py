"""The real server, as a process of its own: starts light, streams, stops when told."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from api.http.server import CannotServe, serve
from records.base import BatchStatus, JobStatus
from records.database import connect, session_factory, unit_of_work
from records.tables import Batch, Job
from tests.api.http.conftest import World
from worker.queue.settings import Settings

SCRIPT = """
from api.http.server import serve
from worker.queue.settings import Settings
serve(Settings())
"""
LIMIT_MB = 150


@dataclass(frozen=True)
class Server:
    """A running server."""

    process: subprocess.Popen[bytes]
    client: httpx.Client
    seconds: float


@contextlib.contextmanager
def _running(home: Path, url: str) -> Iterator[Server]:
    port = _free_port()
    environment = os.environ | {
        "NIGHTSHIFT_HOME": str(home),
        "NIGHTSHIFT_DATABASE_URL": url,
        "NIGHTSHIFT_API_PORT": str(port),
        "NIGHTSHIFT_API_KEYS_REQUIRED": "false",
    }
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], env=environment)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            _wait_for(client, process)
            yield Server(process, client, time.monotonic() - started)
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1500):
        with contextlib.suppress(httpx.ConnectError):
            assert client.get("/healthz").status_code == 200
            return
        assert process.poll() is None, "the server ended before it answered"
        time.sleep(0.02)
    pytest.fail("the server did not answer")


@pytest.fixture
def seeded(sqlite_url: str, store: Path) -> World:
    """The world on SQLite."""
    return World(session_factory(connect(sqlite_url)), store)


@pytest.fixture
def server(seeded: World, sqlite_url: str, tmp_path: Path) -> Iterator[Server]:
    """A server without keys over the world."""
    with _running(tmp_path / "home", sqlite_url) as running:
        yield running


@pytest.mark.system
def test_the_server_is_light(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(20):
        for address in ("/v1/batches", "/v1/stats", "/readyz", "/docs", "/metrics"):
            assert server.client.get(address).status_code == 200
    megabytes = _resident_mb(server.process.pid)
    with capsys.disabled():
        sys.stdout.write(f" [first answer after {server.seconds:.2f} s, {megabytes:.0f} MB] ")
    assert megabytes < LIMIT_MB


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("no /proc on this system")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


@pytest.mark.system
def test_events_follow_a_batch_until_it_is_finished(server: Server, seeded: World) -> None:
    (job,) = seeded.submit(1)
    _set(seeded, BatchStatus.RUNNING)
    seen: list[tuple[str, dict[str, Any]]] = []
    headers = {"Last-Event-ID": "41; DROP TABLE"}
    address = f"/v1/batches/{seeded.batch_id}/events"
    with server.client.stream("GET", address, headers=headers) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for name, data in _events(stream):
            seen.append((name, data))
            if len(seen) == 1:
                with unit_of_work(seeded.sessions) as session:
                    session.execute(
                        update(Job).where(Job.id == job).values(status=JobStatus.SUCCEEDED)
                    )
            if len(seen) == 2:
                _set(seeded, BatchStatus.FINISHED)
    assert [name for name, _ in seen] == ["progress", "progress", "progress", "finished"]
    assert [data["jobs"].get("succeeded") for _, data in seen] == [1, 2, 2, 2]
    assert seen[-1][1]["closed"]


@pytest.mark.system
def test_events_of_a_closed_batch_end_at_once(server: Server, seeded: World) -> None:
    with server.client.stream("GET", f"/v1/batches/{seeded.batch_id}/events") as stream:
        assert [name for name, _ in _events(stream)] == ["progress", "finished"]


@pytest.mark.system
def test_the_server_stops_although_somebody_listens(server: Server, seeded: World) -> None:
    _set(seeded, BatchStatus.RUNNING)
    heard: list[str] = []
    listening = threading.Event()

    def listen() -> None:
        with server.client.stream("GET", f"/v1/batches/{seeded.batch_id}/events") as stream:
            for name, _ in _events(stream):
                heard.append(name)
                listening.set()

    listener = threading.Thread(target=listen)
    listener.start()
    assert listening.wait(30)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    listener.join(30)
    assert heard == ["progress"]


def test_a_port_in_use_is_said_in_a_sentence(sqlite_url: str, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CannotServe, match=f"Port {port} of 127.0.0.1 is in use"):
            serve(_settings(tmp_path, sqlite_url, port))


def test_tables_that_are_behind_are_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match="nightshift db upgrade"):
        serve(_settings(tmp_path, f"sqlite:///{tmp_path / 'none.db'}", _free_port()))


def _settings(home: Path, url: str, port: int) -> Settings:
    return Settings.model_validate({"home": home, "database_url": url, "api_port": port})


def _set(world: World, status: BatchStatus) -> None:
    with unit_of_work(world.sessions) as session:
        session.execute(update(Batch).where(Batch.id == world.batch_id).values(status=status))


def _events(stream: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    name = ""
    for line in stream.iter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)
