"""``python -m worker look-at-drift``: the look of the desk, now and over stated windows."""

from __future__ import annotations

import argparse

from sqlalchemy.orm import Session, sessionmaker

from records import observations
from records.database import connect, reading, session_factory
from records.observations import Window
from worker import drift, logging
from worker.queue.settings import Settings
from worker.verbs import NOTHING_TO_ANALYSE, WELL, complain


def look_at_drift(words: argparse.Namespace) -> int:
    """Look at one analysis, or at all that have answered."""
    settings = Settings()
    logging.configure("WARNING", role="drift")
    window = Window(size=settings.drift_window, since=words.since, until=words.until)
    engine = connect(settings.database)
    try:
        return _look(session_factory(engine), words.analysis, window)
    finally:
        engine.dispose()


def _look(sessions: sessionmaker[Session], analysis: str | None, window: Window) -> int:
    with reading(sessions) as session:
        known = observations.analyses(session)
    wanted = known if analysis is None else [analysis]
    if not wanted or not set(wanted) <= set(known):
        return complain("no such analysis has answered yet", NOTHING_TO_ANALYSE)
    for name in wanted:
        drift.look(sessions, name, window, by="nightshift drift")
    return WELL
