"""``nightshift up`` and one verb per role."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from api.cli import printing
from api.cli.context import check_records, load_settings, open_records
from api.cli.outcome import Problem, sentence_of
from api.cli.signals import stoppable

if TYPE_CHECKING:
    from worker.queue.processes import Supervisor
    from worker.queue.settings import Settings

LOOK_EVERY = 0.5
READY_WITHIN = 120.0


def up() -> None:
    """Run everything on this machine in the foreground: API, workers, trainer, beat, Flower."""
    from api.cli import entrance
    from worker.queue.embedded import open_up

    settings = load_settings()
    entrance.require_port(settings.api_host, settings.api_port, "API")
    entrance.require_port(settings.flower_host, settings.flower_port, "FLOWER")
    with _serving():
        settings = entrance.with_flower_password(settings)
        with open_records(settings) as records:
            secret = entrance.first_key(records)
        printing.note("Starting ...")
        with open_up(settings) as services:
            services.supervisor.start("api", command=door("api"))
            services.supervisor.start("flower")
            services.supervisor.wait_ready(seconds=READY_WITHIN)
            entrance.say_addresses(settings, secret)
            tend(services.supervisor)


def api() -> None:
    """Run the HTTP API."""
    from worker.queue.loading import loading

    with loading():
        settings = load_settings()
        check_records(settings)
        from api.http.app import OpenDoor
        from api.http.server import CannotServe, serve

    try:
        serve(settings)
    except (CannotServe, OpenDoor) as refused:
        raise Problem(sentence_of(refused)) from refused


def worker() -> None:
    """Run the workers of this machine: one inference process per device, and a desk."""
    from worker.queue.devices import inference_environments
    from worker.queue.processes import Supervisor

    settings = require_broker(load_settings())
    check_records(settings)
    with _serving(), Supervisor(settings) as supervisor:
        supervisor.start("desk")
        for environment in inference_environments(settings):
            supervisor.start("infer", env=environment)
        supervisor.wait_ready(seconds=READY_WITHIN)
        names = ", ".join(sorted(supervisor.processes()))
        printing.note(f"Working: {names}. Logs are in {settings.home / 'logs'}.")
        tend(supervisor)


def trainer() -> None:
    """Run the trainer of this machine."""
    become("trainer")


def beat() -> None:
    """Run the clock: expired leases, unsent jobs, due schedules. Two of them do no harm."""
    become("beat")


def flower() -> None:
    """Run Flower, the page on which one watches the workers."""
    from api.cli import entrance

    settings = entrance.with_flower_password(require_broker(load_settings()))
    entrance.require_port(settings.flower_host, settings.flower_port, "FLOWER")
    become("flower", settings)


def tend(supervisor: Supervisor) -> None:
    """Look after the processes until the command is stopped; say when one was started again."""
    restarts = supervisor.restarts()
    try:
        while True:
            supervisor.poll()
            if supervisor.restarts() > restarts:
                restarts = supervisor.restarts()
                printing.note("A process had died and was started again; its log says why.")
            time.sleep(LOOK_EVERY)
    except KeyboardInterrupt:
        printing.note("Stopping; running jobs are put back ...")
        raise


def become(role: str, settings: Settings | None = None) -> None:
    """Turn this process into a role, so that signals reach it and nothing stands between."""
    from worker.queue.processes import environment_of

    settings = settings or require_broker(load_settings())
    check_records(settings)
    environment = os.environ | environment_of(settings)
    words = [sys.executable, "-P", "-m", "worker", role]
    os.execve(sys.executable, words, environment)  # noqa: S606 - no shell is the purpose


def door(verb: str) -> list[str]:
    """Return the command of one of our own verbs, for a supervisor."""
    return [sys.executable, "-P", "-m", "api.cli", verb]


@contextmanager
def _serving() -> Iterator[None]:
    """Run until stopped. To be stopped is how a service ends well."""
    from worker.queue.broker import BrokerUnavailable
    from worker.queue.processes import RoleCannotStart

    try:
        with stoppable():
            yield
    except KeyboardInterrupt:
        printing.note("Stopped.")
    except (BrokerUnavailable, RoleCannotStart) as fault:
        raise Problem(sentence_of(fault)) from fault


def require_broker(settings: Settings) -> Settings:
    """Refuse a role that has no broker to take work from."""
    from worker.queue.embedded import is_up

    if settings.broker_url is None and not is_up(settings):
        message = "There is no broker: none is configured and no `nightshift up` runs here."
        raise Problem(message, mend="Set NIGHTSHIFT_BROKER_URL, or use `nightshift up`.")
    return settings
