"""Notices what the heartbeat cannot see in its leases, and ends this process.

Celery consumers can hang on a half-open connection or leak a slot and then wait for ever. The
database knows better: jobs of our lane are announced every minute, and we have heard of none.
A candidate that hangs beside a job has no lease, and would keep the gate for ever.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from typing import Final

import structlog

from records import wakes
from records.database import DatabaseUnavailable, reading
from worker.heartbeat import DEADLINE_GRACE_SECONDS, EXIT_HUNG, give_back
from worker.services import Services

log = structlog.get_logger(__name__)

#: twice the longest time between two announcements of a waiting job
PATIENCE: Final = timedelta(seconds=120)
#: EX_TEMPFAIL: the supervisor starts the role again
EXIT_STALLED: Final = 75


class Stall:
    """Looks now and then whether this process has stalled."""

    def __init__(self, services: Services) -> None:
        """Start the watch now."""
        self._services = services
        self._next_look = time.monotonic() + PATIENCE.total_seconds()

    def check(self) -> None:
        """End the process where jobs wait that it should have heard of long ago."""
        flights, now = self._services.flights, time.monotonic()
        if now < self._next_look or flights.is_closing or flights.is_busy:
            return
        self._next_look = now + PATIENCE.total_seconds() / 6
        silence = now - flights.last_heard
        if silence < PATIENCE.total_seconds():
            return
        try:
            with reading(self._services.sessions) as session:
                waiting = wakes.has_announced_jobs(session, lane=self._services.settings.lane)
        except DatabaseUnavailable:
            return
        if waiting:
            log.error("worker.stalled", silent_seconds=round(silence))
            os._exit(EXIT_STALLED)


class Overdue:
    """Looks whether a candidate hangs beside a job that has ended."""

    def __init__(self, services: Services) -> None:
        """Watch the work of these services that has no lease."""
        self._services = services

    def check(self) -> None:
        """End the process where a candidate is past its deadline and reaches no checkpoint.

        Its job has ended and loses nothing; the jobs beside it are given back, uncounted.
        """
        hung = self._services.flights.overdue(DEADLINE_GRACE_SECONDS)
        if not hung:
            return
        for job in hung:
            log.error("shadow.hung", job=str(job))
        give_back(self._services.flights.held(), self._services.sessions)
        os._exit(EXIT_HUNG)
