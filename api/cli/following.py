"""Staying with a training until it has ended: drawn on a terminal, told in lines elsewhere."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from api.cli import printing
from api.cli.epochs import progress_words, share_done
from api.cli.outcome import Problem
from api.cli.watching import patient

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from api.cli.context import Records
    from records.listing import TrainingDetail

LOOK_EVERY = 0.5
#: within an epoch
TELL_ANYHOW_EVERY = 60.0
ENDED = frozenset({"succeeded", "rejected", "failed", "canceled"})


def follow(records: Records, which: uuid.UUID, *, tend: Callable[[], None] = lambda: None) -> None:
    """Show how far a training is until it has ended.

    Raises:
        DatabaseUnavailable: the records were out of reach for minutes in a row.

    """
    look = patient(lambda: read(records, which))
    with display() as show:
        while True:
            tend()
            now = look()
            if now is not None and now.progress:
                show(now.progress)
            if now is not None and now.status.value in ENDED:
                return
            time.sleep(LOOK_EVERY)


class Lines:
    """Plain lines for logs: at each phase, at each epoch, and now and then within a long one."""

    def __init__(self, tell: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._tell = tell
        self._clock = clock
        self._at = clock()
        self._told: tuple[object, ...] = ()
        self._words = ""

    def show(self, progress: Mapping[str, Any]) -> None:
        """Tell where the training stands, if it is time to."""
        place, words = (progress.get("phase"), progress.get("epoch")), progress_words(progress)
        is_long_ago = self._clock() >= self._at + TELL_ANYHOW_EVERY and words != self._words
        if place != self._told or is_long_ago:
            self._told, self._words, self._at = place, words, self._clock()
            self._tell(words)


@contextmanager
def display() -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Give what shows progress as it fits where stderr goes."""
    if not sys.stderr.isatty():
        yield Lines(printing.note, time.monotonic).show
        return
    from rich.live import Live
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    with Live(console=printing.err(), refresh_per_second=8) as live:

        def draw(progress: Mapping[str, Any]) -> None:
            share = share_done(progress)
            grid = Table.grid(padding=(0, 1))
            bar = ProgressBar(total=1.0, completed=share or 0.0, width=28, pulse=share is None)
            grid.add_row(bar, progress_words(progress))
            live.update(grid, refresh=True)

        yield draw


def read(records: Records, which: uuid.UUID) -> TrainingDetail:
    """Return one training as it is now."""
    from records.database import reading

    with reading(records.sessions) as session:
        return found(session, which)


def found(session: Session, which: uuid.UUID) -> TrainingDetail:
    """Return one training."""
    from records import listing

    row = listing.training(session, which)
    if row is None:
        message = "The training was removed meanwhile."
        raise Problem(message)
    return row
