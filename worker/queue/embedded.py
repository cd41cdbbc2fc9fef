"""The services that a command starts for itself: a private broker and the worker roles."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from worker.queue import broker
from worker.queue.devices import inference_environments
from worker.queue.processes import Supervisor
from worker.queue.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """Running services. ``settings`` carries the lane and the broker they really use."""

    settings: Settings
    supervisor: Supervisor

    def poll(self) -> None:
        """Restart what died. Call it about once a second.

        Raises:
            RoleCannotStart: a role ends again and again before it is ready.

        """
        self.supervisor.poll()


@contextlib.contextmanager
def open_run(settings: Settings) -> Iterator[Embedded]:
    """Start what ``nightshift run`` needs on a fresh lane and stop it at the end.

    The broker is always private and keeps nothing: a run that is cut off is taken up again from
    the database. The schema must be current. The desk registers the shipped models and analyses
    before it takes its first task.

    Raises:
        BrokerUnavailable: no Redis-compatible server is installed, or it does not answer.

    """
    lane = f"run-{uuid.uuid4().hex[:12]}"
    folder = _private(settings.home) / "runs" / lane
    try:
        with _services(settings, folder, lane=lane, persistent=False) as services:
            _start_workers(services)
            yield services
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def open_training(settings: Settings) -> Iterator[Embedded]:
    """Start what one training needs on a fresh lane and stop it at the end.

    As ``open_run``, with a trainer in the place of the inference processes.

    Raises:
        BrokerUnavailable: as ``open_run``.

    """
    lane = f"train-{uuid.uuid4().hex[:12]}"
    folder = _private(settings.home) / "runs" / lane
    try:
        with _services(settings, folder, lane=lane, persistent=False) as services:
            for role in ("desk", "trainer", "beat"):
                services.supervisor.start(role)
            yield services
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def open_up(settings: Settings) -> Iterator[Embedded]:
    """Start every role but the doors (API, Flower) in the shared lane; stop them at the end.

    Without ``broker_url`` a private broker with an append-only file runs under ``home``.

    Raises:
        BrokerUnavailable: as ``open_run``, or another ``up`` holds this home.

    """
    folder = _private(settings.home) / "redis"
    with contextlib.ExitStack() as stack:
        if settings.broker_url is None:
            stack.enter_context(_held(folder))
            services = stack.enter_context(
                _services(settings, folder, lane=settings.lane, persistent=True)
            )
        else:
            supervisor = stack.enter_context(Supervisor(settings))
            services = Embedded(settings=settings, supervisor=supervisor)
        _start_workers(services)
        services.supervisor.start("trainer")
        yield services


def _start_workers(services: Embedded) -> None:
    """Start desk, beat and one inference process per device."""
    services.supervisor.start("desk")
    for environment in inference_environments(services.settings):
        services.supervisor.start("infer", env=environment)
    services.supervisor.start("beat")


@contextlib.contextmanager
def _services(
    settings: Settings, folder: Path, *, lane: str, persistent: bool
) -> Iterator[Embedded]:
    """Start a broker in ``folder``, under the supervisor that will hold its workers too."""
    path = broker.prepare_socket(folder)
    url = SecretStr(broker.broker_url(path))
    in_force = settings.model_copy(update={"lane": lane, "broker_url": url})
    try:
        with Supervisor(in_force) as supervisor:
            command = broker.server_command(path, folder, persistent=persistent)
            supervisor.start("broker", command=command)
            broker.wait_until_answers(path)
            yield Embedded(settings=in_force, supervisor=supervisor)
    finally:
        broker.remove_socket(path, folder)


def is_up(settings: Settings) -> bool:
    """Say whether a ``nightshift up`` runs on this home: it holds the lock of the broker folder."""
    try:
        with (settings.home / "redis" / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the lock of a broker folder, so that two servers never share its socket and file."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise broker.BrokerUnavailable(
                "another `nightshift up` runs on this home; set NIGHTSHIFT_HOME to another folder"
            ) from None
        yield


def _private(home: Path) -> Path:
    """Return the home folder, made readable by its owner only if it had to be made."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return home.resolve()
