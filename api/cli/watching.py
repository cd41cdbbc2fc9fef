"""Watching a batch until it ends: drawn on a terminal, told in lines elsewhere.

All of it goes to stderr, so that stdout keeps the answer alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

from api.cli import printing
from api.cli.progress import (
    Pace,
    Snapshot,
    job_words,
    pace_words,
    plain_line,
    scan_words,
)

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.live import Live

    from worker.queue.settings import Settings

Seen = TypeVar("Seen")

LOOK_EVERY = 0.5
TELL_CHANGES_EVERY = 5.0
TELL_ANYHOW_EVERY = 60.0
TELL_SHORTAGE_EVERY = 600.0
#: the workers outlast a database that is away, so who watches them waits so long for it
OUTAGE_SECONDS = 300.0


class Display(Protocol):
    """Shows how far a batch is."""

    def show(self, snapshot: Snapshot) -> None:
        """Show the batch as it is now."""


class Lines:
    """Plain lines for logs: at the start of each phase, every few seconds while things change."""

    def __init__(self, tell: Callable[[str], None], started: float) -> None:
        self._tell = tell
        self._started = started
        self._pace = Pace()
        self._last: Snapshot | None = None

    def show(self, snapshot: Snapshot) -> None:
        """Tell the batch as it is now, if it is time to."""
        self._pace.observe(snapshot)
        if self._is_due(snapshot):
            self._tell(plain_line(snapshot, self._pace, self._started))
            self._last = snapshot

    def _is_due(self, snapshot: Snapshot) -> bool:
        """Return whether this moment is worth a line."""
        last = self._last
        if last is None or snapshot.ended or snapshot.planned != last.planned:
            return True
        waited = snapshot.at - last.at
        before = (last.files_seen, last.studies, dict(last.jobs))
        changed = (snapshot.files_seen, snapshot.studies, dict(snapshot.jobs)) != before
        return waited >= (TELL_CHANGES_EVERY if changed else TELL_ANYHOW_EVERY)


class Drawing:
    """Two bars that stay in place: the scan, the jobs, and what the jobs came to."""

    def __init__(self, live: Live, started: float) -> None:
        self._live = live
        self._started = started
        self._pace = Pace()

    def show(self, snapshot: Snapshot) -> None:
        """Draw the batch as it is now."""
        self._pace.observe(snapshot)
        self._live.update(self._drawn(snapshot), refresh=True)

    def _drawn(self, snapshot: Snapshot) -> Group:
        """Return the picture of one moment."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 1))
        files = snapshot.files_total if not snapshot.planned else snapshot.files_seen
        grid.add_row("Scan", _bar(snapshot.files_seen, files), scan_words(snapshot))
        total = snapshot.total if snapshot.planned else None
        counted = f"{snapshot.done:,} of {snapshot.total:,}" if snapshot.total else "none yet"
        pace = pace_words(snapshot, self._pace)
        grid.add_row("Jobs", _bar(snapshot.done, total), f"{counted}   {pace}".rstrip())
        grid.add_row("", "", _coloured(snapshot) if snapshot.total else Text(""))
        took = printing.span(snapshot.at - self._started)
        words = f"took {took}" if snapshot.ended else f"{took} so far"
        return Group(grid, Text(words, style="bright_black"))


def _bar(done: int, total: int | None) -> RenderableType:
    """Return a bar; one that only pulses while the total is unknown."""
    from rich.progress_bar import ProgressBar

    known = total or None
    return ProgressBar(total=known, completed=done, width=28, pulse=known is None)


def _coloured(snapshot: Snapshot) -> RenderableType:
    """Return the jobs by status, each in its colour."""
    from rich.text import Text

    words = Text()
    for told in job_words(snapshot).split(", "):
        status = told.rsplit(" ", 1)[-1]
        words.append(told + "   ", style=printing.STATUS_COLOURS.get(status, ""))
    return words


@contextmanager
def display(started: float) -> Iterator[Display]:
    """Give the display that fits where stderr goes."""
    if not sys.stderr.isatty():
        yield Lines(printing.note, started)
        return
    from rich.live import Live

    with Live(console=printing.err(), refresh_per_second=8, transient=False) as live:
        yield Drawing(live, started)


class Room:
    """Tells now and then that the disk of the store is short of room: jobs wait, unseen."""

    def __init__(self, settings: Settings, tell: Callable[[str], None] = printing.note) -> None:
        self._settings = settings
        self._tell = tell
        self._not_before = 0.0

    def look(self) -> None:
        """Tell it, if it is so and was not told of late."""
        from api.cli.checks.machine import shortage

        sentence = shortage(self._settings)
        if sentence and time.monotonic() >= self._not_before:
            self._not_before = time.monotonic() + TELL_SHORTAGE_EVERY
            self._tell(f"{sentence} Jobs wait until there is room.")


def watch(
    read: Callable[[], Snapshot],
    shown: Display,
    *,
    tend: Callable[[], None] = lambda: None,
    every: float = LOOK_EVERY,
) -> Snapshot:
    """Look at a batch until it has ended, and return it as it is then.

    Args:
        read: gives the batch as it is now.
        shown: where it is shown.
        tend: called before each look; an embedded run looks after its processes here.
        every: seconds between two looks.

    Raises:
        DatabaseUnavailable: the records were out of reach for ``OUTAGE_SECONDS`` in a row.
    """
    look = patient(read)
    while True:
        tend()
        snapshot = look()
        if snapshot is not None:
            shown.show(snapshot)
            if snapshot.ended:
                return snapshot
        time.sleep(every)


def patient(read: Callable[[], Seen]) -> Callable[[], Seen | None]:
    """Return ``read`` that says once that the records are out of reach, and then gives None.

    It raises ``DatabaseUnavailable`` where they were so for ``OUTAGE_SECONDS`` in a row.
    """
    from records.database import DatabaseUnavailable

    since: float | None = None

    def look() -> Seen | None:
        nonlocal since
        try:
            seen = read()
        except DatabaseUnavailable as gone:
            if since is None:
                since = time.monotonic()
                printing.note(f"{gone} Waiting for it, at most {printing.span(OUTAGE_SECONDS)}.")
            if time.monotonic() - since > OUTAGE_SECONDS:
                raise
            return None
        since = None
        return seen

    return look
