"""``python -m worker look-at-drift``: the look of the desk now, or one against a stated time.

Alarms and schedules go by what is kept, and that is held against one reference. So a look against
another one is said, as JSON, and not kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy.orm import Session, sessionmaker

from records import observations
from records.database import connect, reading, session_factory
from records.observations import Window
from worker import drift, logging
from worker.queue.settings import Settings
from worker.verbs import NOTHING_TO_ANALYSE, WELL, complain


def look_at_drift(words: argparse.Namespace) -> int:
    """Look at one analysis, or at all that have answered; print what was not kept as JSON."""
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
    if window.since is None and window.until is None:
        for name in wanted:
            drift.look(sessions, name, window, by="nightshift drift")
        return WELL
    _say(sessions, wanted, window)
    return WELL


def _say(sessions: sessionmaker[Session], analyses: Sequence[str], window: Window) -> None:
    found = (drift.find(sessions, name, window) for name in analyses)
    json.dump([asdict(one) for one in found if one is not None], sys.stdout)
