"""How far a batch is: what is counted, how fast it goes, how long it will take, in words.

Pure: no clock, no database, no terminal. ``watching`` feeds it, and draws it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from api.cli.printing import plural, span

ENDED = ("succeeded", "rejected", "failed", "canceled")
"""The four job statuses that end a job, in the order they are told."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A batch at one moment."""

    at: float
    """seconds on a monotonic clock"""
    status: str
    planned: bool
    """whether every job row exists, so that the total is final"""
    files_seen: int = 0
    files_total: int | None = None
    """None while the source is still being walked"""
    studies: int = 0
    jobs: Mapping[str, int] = field(default_factory=dict)
    tried: int = 0
    """jobs that ended after a worker took them; those that were refused unseen took no time"""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to the batch."""
        return self.status in ("finished", "failed", "canceled")

    @property
    def total(self) -> int:
        """Jobs there are so far."""
        return sum(self.jobs.values())

    @property
    def done(self) -> int:
        """Jobs that have ended, one way or another."""
        return sum(self.jobs.get(status, 0) for status in ENDED)


class Pace:
    """Jobs per second over the last while, so that a slow start does not haunt the estimate."""

    def __init__(self, window: float = 60.0) -> None:
        self._window = window
        self._seen: deque[tuple[float, int]] = deque()

    def observe(self, snapshot: Snapshot) -> None:
        """Remember how many jobs had ended when. Nothing counts before the first that ends."""
        if len(self._seen) == 1 and snapshot.tried == self._seen[0][1]:
            self._seen.clear()
        if not self._seen or snapshot.tried != self._seen[-1][1]:
            self._seen.append((snapshot.at, snapshot.tried))
        while len(self._seen) > 2 and snapshot.at - self._seen[1][0] > self._window:
            self._seen.popleft()

    def rate(self, at: float) -> float | None:
        """Return jobs per second; None until two have ended."""
        first_at, first = self._seen[0] if self._seen else (at, 0)
        gained = self._seen[-1][1] - first if self._seen else 0
        if gained < 2 or at <= first_at:
            return None
        return gained / (at - first_at)

    def seconds_left(self, snapshot: Snapshot) -> float | None:
        """Return how long the rest takes at this pace; None while nobody can know."""
        rate = self.rate(snapshot.at)
        if rate is None or not snapshot.planned:
            return None
        return (snapshot.total - snapshot.done) / rate


def scan_words(snapshot: Snapshot) -> str:
    """Return ``1,204 files scanned, 62 studies``; the studies once they are known."""
    files = plural(snapshot.files_seen, "file")
    if snapshot.files_total is not None and snapshot.files_total > snapshot.files_seen:
        files = f"{snapshot.files_seen:,} of {plural(snapshot.files_total, 'file')}"
    if not snapshot.studies:
        return f"{files} scanned"
    studies = plural(snapshot.studies, "study", "studies")
    return f"{files} scanned, {studies}"


def job_words(snapshot: Snapshot) -> str:
    """Return ``29 succeeded, 2 rejected, 3 running, 28 queued``, without what is not there."""
    order = (*ENDED, "running", "queued")
    told = (f"{snapshot.jobs[status]:,} {status}" for status in order if snapshot.jobs.get(status))
    return ", ".join(told)


def pace_words(snapshot: Snapshot, pace: Pace) -> str:
    """Return ``12.4 jobs/min, 2 min 30 s left``; empty while nobody can know."""
    rate = pace.rate(snapshot.at)
    if rate is None:
        return ""
    left = pace.seconds_left(snapshot)
    speed = f"{rate * 60:.1f} jobs/min"
    return speed if left is None or snapshot.ended else f"{speed}, about {span(left)} left"


def plain_line(snapshot: Snapshot, pace: Pace, since: float) -> str:
    """Return the state of a batch as one line for a log.

    Args:
        snapshot: the batch now.
        pace: what it did so far.
        since: when the command began, on the clock of the snapshot.
    """
    minutes, seconds = divmod(int(snapshot.at - since), 60)
    parts = [scan_words(snapshot)]
    if snapshot.total:
        total = f"{snapshot.total:,}" if snapshot.planned else f"{snapshot.total:,} so far"
        parts.append(f"{snapshot.done:,} of {total} jobs done ({job_words(snapshot)})")
    if words := pace_words(snapshot, pace):
        parts.append(words)
    return f"[{minutes:02d}:{seconds:02d}] " + "; ".join(parts)
