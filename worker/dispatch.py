"""Publishes wake-ups for rows that wait: after the commit, and only a window ahead.

A wake-up may be lost, doubled or late. The row stays queued until a worker claims it, and is
published again with back-off, so neither a broken broker nor an empty one loses work.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog
from kombu.exceptions import OperationalError

from records import batches, jobs, trainings
from records.database import unit_of_work
from records.wakes import Wake
from worker.queue import messages
from worker.services import Services

log = structlog.get_logger(__name__)


def dispatch_all(services: Services) -> int:
    """Publish what waits, of every kind. Returns how many wake-ups were sent."""
    lane, resend_after = services.settings.lane, services.settings.resend_after
    with unit_of_work(services.sessions) as session:
        scans = batches.scans_to_publish(session, lane=lane, resend_after=resend_after)
        learning = trainings.to_publish(session, lane=lane, resend_after=resend_after)
    sent = _publish(services, messages.SCAN_BATCH, scans)
    sent += _publish(services, messages.RUN_TRAINING, learning)
    return sent + dispatch_jobs(services)


def dispatch_jobs(services: Services) -> int:
    """Publish jobs up to the window. Called at every tick and whenever a job ends."""
    settings = services.settings
    with unit_of_work(services.sessions) as session:
        wakes = jobs.to_publish(
            session,
            lane=settings.lane,
            window=settings.window,
            resend_after=settings.resend_after,
        )
    return _publish(services, messages.RUN_JOB, wakes)


def announce_scan(services: Services, batch_id: UUID) -> None:
    """Publish one scan at once, whenever it was last: there is room for it now."""
    _publish(services, messages.SCAN_BATCH, [Wake(batch_id, messages.SCAN)])


def _publish(services: Services, task: str, wakes: Sequence[Wake]) -> int:
    """Send the wake-ups. An unreachable broker is logged: the rows are published again.

    The task bears the id of its row, so that Flower and the records speak of the same thing.
    """
    for sent, wake in enumerate(wakes):
        name = str(wake.id)
        try:
            services.app.send_task(task, args=[name], queue=wake.queue, task_id=name)
        except OperationalError:
            log.warning("dispatch.broker_unreachable", unsent=len(wakes) - sent)
            return sent
    return len(wakes)
