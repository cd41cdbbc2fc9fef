"""The Celery tasks: thin. They carry an id to a use case and let no error through.

Every broad ``except`` of Nightshift is in this file, for two reasons: an error that reaches
Celery is printed with its message, which may quote a header or a path; and a MemoryError that
reaches a thread of its pool blocks that thread for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import structlog
from celery import Celery

from records.database import DatabaseUnavailable
from worker import analysis, dispatch, outcomes, scanning, shadow, upkeep
from worker.queue import messages
from worker.services import Services

log = structlog.get_logger(__name__)


@contextmanager
def edge(task: str, **ids: str) -> Iterator[None]:
    """Bind the ids to every log line of the block; log what goes wrong, and end it here."""
    with structlog.contextvars.bound_contextvars(task=task, **ids):
        try:
            yield
        except DatabaseUnavailable as error:
            log.warning("task.database_unavailable", why=str(error))
        except Exception:  # the task edge, see the top of this file
            log.exception("task.failed")


def carry_job(job_id: UUID, services: Services) -> None:
    """Run one job from claim to record. Nothing to do where somebody else has it."""
    flight = analysis.claim(job_id, services)
    if flight is None:
        return
    delivered = None
    with (
        structlog.contextvars.bound_contextvars(attempt=flight.lease.attempt),
        services.flights.hold(flight),
    ):
        try:
            delivered = analysis.carry(flight, services)
        except Exception as error:  # noqa: BLE001 - the task edge: every end is recorded
            outcomes.settle(error, flight, services)
    if delivered is not None:
        run_beside(delivered, services)


def run_beside(delivered: shadow.Delivered, services: Services) -> None:
    """Let candidates look at the study too. The job has ended: whatever goes wrong is logged."""
    try:
        shadow.run(delivered, services)
    except Exception as error:  # noqa: BLE001 - the task edge: nothing here may cost a job
        log.warning("shadow.failed", why=type(error).__name__)


def carry_scan(batch_id: UUID, services: Services) -> None:
    """Scan and plan one batch. Nothing to do where somebody else has it."""
    flight = scanning.claim(batch_id, services)
    if flight is None:
        return
    with services.flights.hold(flight):
        try:
            scanning.carry(flight, services)
        except Exception as error:  # noqa: BLE001 - the task edge: every end is recorded
            scanning.settle(error, flight, services)


def register_inference(app: Celery, services: Services) -> None:
    """Let ``app`` answer for jobs."""

    @app.task(name=messages.RUN_JOB)
    def run_job(job_id: str) -> None:
        """Run one job, then refill the window: the next worker shall not wait for a tick."""
        with edge(messages.RUN_JOB, job=job_id):
            carry_job(UUID(job_id), services)
            dispatch.dispatch_jobs(services)


def register_desk(app: Celery, services: Services) -> None:
    """Let ``app`` answer for scans and upkeep."""
    at_hand = upkeep.Upkeep(services)

    @app.task(name=messages.SCAN_BATCH)
    def scan_batch(batch_id: str) -> None:
        """Scan and plan one batch."""
        with edge(messages.SCAN_BATCH, batch=batch_id):
            carry_scan(UUID(batch_id), services)
            dispatch.dispatch_all(services)

    # one a second would bury the jobs in Flower's list
    @app.task(name=messages.UPKEEP_TICK, send_events=False)
    def tick() -> None:
        """Do what time alone brings about."""
        with edge(messages.UPKEEP_TICK):
            at_hand.tick()


def register_training(app: Celery, services: Services) -> None:
    """Let ``app`` answer for trainings."""
    from worker import training

    @app.task(name=messages.RUN_TRAINING)
    def run_training(training_id: str) -> None:
        """Run one training in a process of its own."""
        with edge(messages.RUN_TRAINING, training=training_id):
            training.run(UUID(training_id), services)
