"""What a process holds: leases in flight, the questions jobs ask of them, and who runs alone."""

from __future__ import annotations

import enum
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeAlias
from uuid import UUID

from sqlalchemy.orm import Session

from pipeline.errors import DeadlineExceeded, Interrupted
from records.leases import Lease
from worker import metrics

#: gives one lease back; ``records.jobs.release`` and its like
Release: TypeAlias = Callable[[Session, Lease], None]

#: part of the lease after which a holder that could not renew gives up, by its own clock
SELF_ABORT = 0.8


class Stop(enum.StrEnum):
    """Why a flight has to end before its work is done."""

    LOST = "lost"
    CANCELED = "canceled"
    PAUSED = "paused"
    SHUTDOWN = "shutdown"


class Flight:
    """One lease held by this process, and what its work may ask between two steps."""

    def __init__(
        self, lease: Lease, *, release: Release, length: timedelta, claimed: float
    ) -> None:
        """Take a lease of ``length`` that was asked for at ``claimed`` (monotonic)."""
        self.lease = lease
        self.release = release
        self.deadline = math.inf
        self.stop: Stop | None = None
        self._patience = SELF_ABORT * length.total_seconds()
        self._renewed = claimed

    def limit(self, seconds: float) -> None:
        """Set the deadline, counted from now."""
        self.deadline = time.monotonic() + seconds

    def note_renewed(self, at: float) -> None:
        """Remember a renewal that was asked for at ``at`` (monotonic)."""
        self._renewed = at

    def ask_to_stop(self, why: Stop) -> None:
        """End the flight at its next checkpoint. The first reason counts."""
        if self.stop is None:
            self.stop = why

    def checkpoint(self) -> None:
        """Return if the work may go on.

        Raises:
            Interrupted: the lease was lost, the job canceled, or the process shuts down.
            DeadlineExceeded: the job took longer than its analysis allows.

        """
        if time.monotonic() - self._renewed > self._patience:
            self.ask_to_stop(Stop.LOST)
        if self.stop is not None:
            raise Interrupted(f"stopped between two steps: {self.stop}")
        if time.monotonic() > self.deadline:
            raise DeadlineExceeded("the job took longer than its analysis allows")


class Flights:
    """Every flight of this process."""

    def __init__(self, *, lease: timedelta) -> None:
        """Remember how long a lease lasts without renewal."""
        self.lease = lease
        #: when this process last received a message or ended some work (monotonic)
        self.last_heard = time.monotonic()
        self._lock = threading.Lock()
        self._held: dict[tuple[str, int], Flight] = {}
        self._unleased: list[tuple[float, UUID]] = []
        self._closing = threading.Event()

    @contextmanager
    def hold(self, flight: Flight) -> Iterator[Flight]:
        """Keep the lease renewed until the block ends."""
        key = (str(flight.lease.id), flight.lease.token)
        with self._lock:
            self._held[key] = flight
        metrics.IN_FLIGHT.inc()
        try:
            yield flight
        finally:
            with self._lock:
                del self._held[key]
                self.last_heard = time.monotonic()
            metrics.IN_FLIGHT.dec()

    @contextmanager
    def watch(self, job_id: UUID, seconds: float) -> Iterator[float]:
        """Yield the deadline of work that has no lease, beside a job that has ended."""
        entry = (time.monotonic() + seconds, job_id)
        with self._lock:
            self._unleased.append(entry)
        try:
            yield entry[0]
        finally:
            with self._lock:
                self._unleased.remove(entry)
                self.last_heard = time.monotonic()

    def overdue(self, grace: float) -> list[UUID]:
        """Return beside which jobs work without a lease goes on ``grace`` after its deadline."""
        latest = time.monotonic() - grace
        with self._lock:
            return [job_id for deadline, job_id in self._unleased if deadline < latest]

    def note_heard(self) -> None:
        """Remember that a message arrived."""
        self.last_heard = time.monotonic()

    def held(self) -> list[Flight]:
        """Return the flights in the air."""
        with self._lock:
            return list(self._held.values())

    @property
    def is_busy(self) -> bool:
        """Whether any work goes on here, with a lease or without."""
        with self._lock:
            return bool(self._held or self._unleased)

    @property
    def is_closing(self) -> bool:
        """Whether this process takes nothing new."""
        return self._closing.is_set()

    def close(self) -> None:
        """Take nothing new. Called from a signal handler, so it only sets a flag."""
        self._closing.set()

    def wait_closing(self, seconds: float) -> bool:
        """Wait up to ``seconds`` for the call of ``close``. Says whether it came."""
        return self._closing.wait(seconds)


class Gate:
    """Lets jobs run side by side, a suspect alone, and who yields only where nobody is inside.

    A job whose earlier attempt did not end well may be what killed the process. It runs alone
    from its second attempt on, so a poisonous job costs its neighbours one attempt at most.
    """

    def __init__(self) -> None:
        """Open the gate."""
        self._changed = threading.Condition()
        self._inside = 0
        self._waiting_alone = 0
        self._is_alone = False

    @contextmanager
    def enter(
        self,
        *,
        alone: bool,
        checkpoint: Callable[[], None],
        yields: Callable[[], bool] = lambda: False,
    ) -> Iterator[None]:
        """Wait for the turn, then hold it for the block. Suspects go before newcomers.

        ``yields`` is asked while it waits: others may follow who yields, unlike a suspect.
        """
        with self._changed:
            self._waiting_alone += alone
            try:
                while not self._is_free(alone=alone, yields=yields):
                    checkpoint()
                    self._changed.wait(0.2)
            finally:
                self._waiting_alone -= alone
            self._inside += 1
            self._is_alone = alone
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._is_alone = False
                self._changed.notify_all()

    def _is_free(self, *, alone: bool, yields: Callable[[], bool]) -> bool:
        if self._inside == 0 and (alone or self._waiting_alone == 0):
            return True
        return not (alone or self._is_alone or self._waiting_alone or yields())
