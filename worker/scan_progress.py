"""How far a scan is, for those who watch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from records import batches
from records.database import unit_of_work
from worker import metrics
from worker.flights import Flight
from worker.services import Services

PROGRESS_SECONDS: Final = 0.5


class Progress:
    """Tells the row of the batch how far the scan is, at most twice a second."""

    def __init__(self, flight: Flight, services: Services) -> None:
        """Start with no files seen."""
        self._flight, self._services = flight, services
        self._next = time.monotonic()
        self._seen = 0

    def note_files(self, count: int) -> None:
        """Note the files looked at so far.

        Raises:
            Interrupted: this process closes.
            Fenced: the scan is no longer ours, or the batch was canceled.

        """
        self._flight.checkpoint()
        metrics.SCANNED_FILES.inc(count - self._seen)
        self._seen = count
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PROGRESS_SECONDS
            self._write({"files_seen": count})

    def finish_files(self, files: int, studies: int) -> None:
        """Note what the whole scan found."""
        self._write({"files_seen": files, "files_total": files, "studies": studies})

    def _write(self, progress: Mapping[str, int]) -> None:
        with unit_of_work(self._services.sessions) as session:
            batches.note_progress(session, self._flight.lease, progress)
