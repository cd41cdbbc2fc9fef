"""Staying with a training until it has ended, wherever it runs."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from api.cli import printing
from api.cli.epochs import progress_words
from api.cli.outcome import Problem

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from api.cli.context import Records
    from records.listing import TrainingDetail

LOOK_EVERY = 0.5
ENDED = frozenset({"succeeded", "rejected", "failed", "canceled"})


def follow(records: Records, which: uuid.UUID, *, tend: Callable[[], None] = lambda: None) -> None:
    """Tell every epoch of a training until it has ended."""
    told = ""
    while True:
        tend()
        now = read(records, which)
        words = progress_words(now.progress)
        if now.progress and words != told:
            told = words
            printing.note(words)
        if now.status.value in ENDED:
            return
        time.sleep(LOOK_EVERY)


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
