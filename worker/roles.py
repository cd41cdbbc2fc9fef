"""The roles: what a process of each kind registers, listens to and watches."""

from __future__ import annotations

import argparse
import faulthandler
import os
import signal
import socket
from collections.abc import Sequence

import structlog
from celery import Celery, signals

from worker import logging, metrics, watchdog
from worker.heartbeat import Heartbeat
from worker.queue import messages
from worker.queue.app import make_app
from worker.queue.loading import loading
from worker.queue.processes import say_ready
from worker.queue.settings import Settings
from worker.services import Services, make_services

log = structlog.get_logger(__name__)

#: two scans at once; ``worker.tasks.desk`` keeps one thread free for upkeep
DESK_THREADS = 3


class FlowerRefused(Exception):
    """Flower would be open to others without a password."""


def infer(words: argparse.Namespace) -> int:
    """Run jobs: read, predict, write, record. Imports torch before the first job arrives."""
    del words
    services = _open("infer")
    with loading():
        from worker.tasks import inference

        services.models.prepare()
    inference.register(services.app, services)
    heartbeat = _heartbeat(services)
    heartbeat.add_chore(watchdog.Stall(services).check)
    heartbeat.add_chore(watchdog.Overdue(services).check)
    return _work(services, heartbeat, messages.INFER_QUEUES, services.settings.jobs_in_flight)


def desk(words: argparse.Namespace) -> int:
    """Scan and plan batches, and do upkeep. First registers what is shipped."""
    del words
    services = _open("desk")
    with loading():
        from worker import catalogue
        from worker.tasks import desk as scans

    catalogue.register_shipped(services)
    scans.register(services.app, services, threads=DESK_THREADS)
    return _work(services, _heartbeat(services), (messages.UPKEEP, messages.SCAN), DESK_THREADS)


def trainer(words: argparse.Namespace) -> int:
    """Run trainings, one at a time, each in a process of its own."""
    del words
    services = _open("trainer")
    with loading():
        from worker.tasks import training

    training.register(services.app, services)
    return _work(services, _heartbeat(services), (messages.TRAIN,), 1)


def beat(words: argparse.Namespace) -> int:
    """Send the upkeep tick. Remembers nothing: schedules live in the database."""
    del words
    settings = Settings()
    logging.configure(settings.log_level, role="beat")
    _keep_our_logging()
    say_ready()
    app = make_app(settings)
    app.conf.task_send_sent_event = False  # beat sends ticks only; see worker.tasks
    app.Beat(scheduler_cls="celery.beat:Scheduler", quiet=True).run()
    return 0


def flower(words: argparse.Namespace) -> int:
    """Serve Flower, read-only. Its pages show ids, and without a password to this host only.

    Raises:
        FlowerRefused: other hosts could see it and no password is set.

    """
    del words
    settings = Settings()
    options = [
        f"--address={settings.flower_host}",
        f"--port={settings.flower_port}",
        "--max_tasks=5000",
        "--read_only",
    ]
    if settings.flower_password is not None:
        secret = settings.flower_password.get_secret_value()
        options.append(f"--basic_auth={settings.flower_user}:{secret}")
    elif settings.flower_host not in {"127.0.0.1", "::1", "localhost"}:
        raise FlowerRefused("flower_host is open to others: set NIGHTSHIFT_FLOWER_PASSWORD as well")
    app = make_app(settings)
    # each of its inspectors holds two connections at once, so a small pool locks all of them up
    app.conf.broker_pool_limit = None
    say_ready()
    app.start(["flower", *options])
    os._exit(0)  # its polling threads would hold a stop up for minutes, and it keeps nothing


def _open(role: str) -> Services:
    """Read the settings, start logging and make the services of this process."""
    settings = Settings()
    logging.configure(settings.log_level, role=role)
    faulthandler.enable()  # a crash in native code names its stack: functions, no values
    return make_services(settings)


def _heartbeat(services: Services) -> Heartbeat:
    grace = services.settings.stop_grace
    return Heartbeat(services.flights, services.sessions, stop_grace=grace)


def _work(services: Services, heartbeat: Heartbeat, queues: Sequence[str], threads: int) -> int:
    """Run a Celery worker on these queues until it is told to stop."""
    settings = services.settings
    metrics.serve(settings.metrics_host, settings.metrics_port)
    heartbeat.start()
    _keep_our_logging()
    _connect_signals(services)
    return _celery(services.app, queues, threads)


def _celery(app: Celery, queues: Sequence[str], threads: int) -> int:
    role = queues[0].partition(".")[0]
    worker = app.Worker(
        hostname=f"{role}-{os.getpid()}@{socket.gethostname()}",
        queues=list(queues),
        concurrency=threads,
        without_gossip=True,
        without_mingle=True,
        task_events=True,
        quiet=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def _connect_signals(services: Services) -> None:
    """Say when the worker is ready; take nothing new once it is told to stop."""

    def on_ready(**_: object) -> None:
        # Celery's own handler of this signal prints the local variables of every thread
        faulthandler.register(signal.SIGUSR1, all_threads=True, chain=False)
        log.info("worker.ready", owner=services.owner)
        say_ready()

    def on_stopping(**_: object) -> None:
        services.flights.close()

    signals.worker_ready.connect(on_ready, weak=False)
    signals.worker_shutting_down.connect(on_stopping, weak=False)


def _keep_our_logging() -> None:
    """Stop Celery from setting up loggers of its own."""

    def nothing(**_: object) -> None:
        """Answer for the set-up; ours is in place."""

    signals.setup_logging.connect(nothing, weak=False)
