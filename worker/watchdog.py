"""Notices that this process has silently stopped receiving work, and ends it.

Celery consumers can hang on a half-open connection or leak a slot and then wait for ever. The
database knows better: jobs of our lane are announced every minute, and we have heard of none.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from typing import Final

import structlog

from records import wakes
from records.database import DatabaseUnavailable, reading
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
        if now < self._next_look or flights.is_closing or flights.held():
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
