"""One thread per process that keeps its leases, hears of cancellations and ends what hangs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from datetime import timedelta

import structlog
from sqlalchemy.orm import Session, sessionmaker

from records import leases
from records.database import DatabaseUnavailable, unit_of_work
from worker import metrics
from worker.flights import Flight, Flights, Stop
from worker.queue.processes import WIND_UP_SECONDS

log = structlog.get_logger(__name__)

#: a cancellation reaches a running job within this time
LONGEST_BEAT_SECONDS = 3.0
#: after its deadline a job has this long to reach a checkpoint
DEADLINE_GRACE_SECONDS = 30.0

EXIT_HUNG = 70


class Heartbeat:
    """Renews every lease in flight at a third of its length, or sooner."""

    def __init__(
        self, flights: Flights, sessions: sessionmaker[Session], *, stop_grace: timedelta
    ) -> None:
        """Take what to keep, where to, and how long running work may go on at a shutdown."""
        self._flights = flights
        self._sessions = sessions
        self._stop_grace = stop_grace.total_seconds()
        self._closing_since: float | None = None
        self._chores: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def add_chore(self, chore: Callable[[], None]) -> None:
        """Do ``chore`` with every beat, e.g. look whether this process has stalled."""
        self._chores.append(chore)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def _beat(self) -> None:
        interval = min(self._flights.lease.total_seconds() / 3, LONGEST_BEAT_SECONDS)
        while True:
            if self._closing_since is None:
                if self._flights.wait_closing(interval):
                    self._closing_since = time.monotonic()
            else:
                time.sleep(min(interval, 0.5))
            for step in (self.renew_all, self._shut_down, self._end_hung, *self._chores):
                _do(step)

    def renew_all(self) -> None:
        """Renew once; tell flights whose lease is lost or whose work is canceled."""
        flights = self._flights.held()
        if not flights:
            return
        asked = time.monotonic()
        try:
            with unit_of_work(self._sessions) as session:
                held = [flight.lease for flight in flights]
                renewal = leases.renew(session, held, self._flights.lease)
        except DatabaseUnavailable as error:
            # flights give up by themselves once 0.8 of the lease has passed
            log.warning("heartbeat.failed", why=str(error))
            return
        for flight in flights:
            if flight.lease.id in renewal.lost:
                metrics.LEASES_LOST.inc()
                flight.ask_to_stop(Stop.LOST)
                continue
            flight.note_renewed(asked)
            if flight.lease.id in renewal.cancel:
                flight.ask_to_stop(Stop.CANCELED)
            if flight.lease.id in renewal.pause:
                flight.ask_to_stop(Stop.PAUSED)

    def _shut_down(self) -> None:
        """At a shutdown, let running work finish for a grace, then ask, then insist."""
        if self._closing_since is None:
            return
        waited = time.monotonic() - self._closing_since
        if waited > self._stop_grace:
            for flight in self._flights.held():
                flight.ask_to_stop(Stop.SHUTDOWN)
        if waited > self._stop_grace + WIND_UP_SECONDS:
            log.warning("shutdown.insisted", held=len(self._flights.held()))
            give_back(self._flights.held(), self._sessions)
            os._exit(0)

    def _end_hung(self) -> None:
        """End the process when a job is past its deadline and reaches no checkpoint.

        Threads cannot be killed. The hung job keeps its lease, which runs out and counts as an
        attempt; its neighbours are given back and start again elsewhere at once.
        """
        now = time.monotonic()
        flights = self._flights.held()
        hung = [flight for flight in flights if now > flight.deadline + DEADLINE_GRACE_SECONDS]
        if not hung:
            return
        for flight in hung:
            log.error("job.hung", job=str(flight.lease.id), attempt=flight.lease.attempt)
        give_back([flight for flight in flights if flight not in hung], self._sessions)
        os._exit(EXIT_HUNG)


def give_back(flights: Iterable[Flight], sessions: sessionmaker[Session]) -> None:
    """Give leases back before the process ends, as far as the database answers."""
    for flight in flights:
        try:
            with unit_of_work(sessions) as session:
                flight.release(session, flight.lease)
        except (DatabaseUnavailable, leases.Fenced) as error:
            log.warning("release.failed", why=str(error))
        except Exception:  # the process has to end, and its other leases to be given back
            log.exception("release.failed")


def _do(step: Callable[[], None]) -> None:
    """Do one step of a beat. Without the thread a process would go on and keep no lease."""
    try:
        step()
    except Exception:  # the edge of the thread: the next beat tries again
        log.exception("heartbeat.step_failed")
