"""What time alone brings about, done by every tick of beat. Doing it twice does it once."""

from __future__ import annotations

import math
import threading
import time
from datetime import timedelta
from typing import Final

import structlog

from pipeline.training.trimming import trim
from records import batches, drifts, jobs, schedules, trainings
from records.database import unit_of_work
from records.observations import Window
from worker import dispatch, retention
from worker.services import Services
from worker.store import PREPARED

log = structlog.get_logger(__name__)

#: ticks that pile up while the desk was away are answered once
SHORTEST_SECONDS: Final = 0.5
SWEEP_SECONDS: Final = 600.0
#: how often it is asked whether a look at drift is due
LOOK_SECONDS: Final = 60.0
#: no writer holds a temporary name for longer
LEFT_BEHIND: Final = timedelta(hours=1)


class Upkeep:
    """Answers ticks, one at a time in this process."""

    def __init__(self, services: Services) -> None:
        """Remember nothing of earlier processes: everything that counts is in the database."""
        self._services = services
        self._lock = threading.Lock()
        self._last_tick = -math.inf
        self._last_sweep = -math.inf
        self._last_look = -math.inf

    def tick(self) -> None:
        """Take back what silent workers held, start what is due, wake workers, close batches."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if time.monotonic() - self._last_tick < SHORTEST_SECONDS:
                return
            self._expire()
            self._look_at_drift()
            self._start_due()
            dispatch.dispatch_all(self._services)
            self._close()
            self._sweep()
            self._last_tick = time.monotonic()
        finally:
            self._lock.release()

    def _expire(self) -> None:
        lane = self._services.settings.lane
        with unit_of_work(self._services.sessions) as session:
            lost = {  # scans first: a failed one waits for its jobs, before the audit is locked
                "scans": batches.expire_scans(session, lane=lane),
                "jobs": jobs.expire(session, lane=lane),
                "trainings": trainings.expire(session, lane=lane),
            }
        if any(lost.values()):
            log.warning("upkeep.expired", **lost)

    def _look_at_drift(self) -> None:
        """Look at what has drifted, before the schedules that wait for it are asked."""
        settings = self._services.settings
        if settings.lane != "shared" or time.monotonic() - self._last_look < LOOK_SECONDS:
            return
        self._last_look = time.monotonic()
        from worker import drift  # SciPy, which no other role needs for its start

        window = Window(size=settings.drift_window)
        every, by = settings.drift_every, self._services.owner
        drift.look_at_all(self._services.sessions, window, every=every, by=by)

    def _start_due(self) -> None:
        """Make the trainings whose slot has come. Embedded runs leave that to the shared lane."""
        if self._services.settings.lane != "shared":
            return
        with unit_of_work(self._services.sessions) as session:
            started = schedules.due(session)
        if started:
            log.info("upkeep.schedules", started=len(started))

    def _close(self) -> None:
        with unit_of_work(self._services.sessions) as session:
            closed = batches.close_finished(session, lane=self._services.settings.lane)
        for batch_id in closed:
            log.info("batch.closed", batch=str(batch_id))

    def _sweep(self) -> None:
        if time.monotonic() - self._last_sweep < SWEEP_SECONDS:
            return
        self._last_sweep = time.monotonic()
        store = self._services.store
        swept = store.sweep(older_than=LEFT_BEHIND)
        if swept:
            log.info("store.swept", count=swept)
        trimmed = trim(store.root / PREPARED, self._services.settings.prepared_bytes)
        if trimmed:
            log.info("store.trimmed", bytes=trimmed)
        kept = self._services.settings.training_files_kept
        forgotten = retention.forget_ended(self._services, after=kept)
        if forgotten:
            log.info("store.forgotten", folders=forgotten)
        with unit_of_work(self._services.sessions) as session:
            looks = drifts.forget(session, keep=self._services.settings.drift_reports_kept)
        if looks:
            log.info("drift.forgotten", looks=looks)
