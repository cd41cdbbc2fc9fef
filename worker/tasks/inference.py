"""Jobs: read, predict, write, record."""

from __future__ import annotations

from uuid import UUID

import structlog
from celery import Celery

from worker import analysis, dispatch, outcomes, shadow
from worker.queue import messages
from worker.services import Services
from worker.tasks.edge import edge

log = structlog.get_logger(__name__)


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


def register(app: Celery, services: Services) -> None:
    """Let ``app`` answer for jobs."""

    @app.task(name=messages.RUN_JOB)
    def run_job(job_id: str) -> None:
        """Run one job, then refill the window: the next worker shall not wait for a tick."""
        with edge(messages.RUN_JOB, job=job_id):
            carry_job(UUID(job_id), services)
            dispatch.dispatch_jobs(services)
