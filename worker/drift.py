"""The use case of the desk: look whether what comes in has drifted, and keep what was found."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import timedelta

import structlog
from sqlalchemy.orm import Session, sessionmaker

from pipeline.drift.comparing import ALPHA, LEAST_COUNT, LEAST_PSI, compare
from pipeline.drift.observing import Observation, observe
from records import drifts, observations
from records.database import now, reading, unit_of_work
from records.drifts import NewDriftReport
from records.observations import Observed, Window

log = structlog.get_logger(__name__)


def look(sessions: sessionmaker[Session], analysis: str, window: Window, *, by: str) -> bool | None:
    """Look at one analysis and keep the report. Says whether it drifts; None: it never answered."""
    new = find(sessions, analysis, window)
    if new is None:
        return None
    with unit_of_work(sessions) as session:
        drifts.add(session, new, by=by)
    log.info("drift.looked", analysis=analysis, drifted=new.drifted)
    return new.drifted


def find(sessions: sessionmaker[Session], analysis: str, window: Window) -> NewDriftReport | None:
    """Return what a look at one analysis finds, kept nowhere; None: it never answered."""
    with reading(sessions) as session:
        windows = observations.windows(session, analysis, window)
    if windows is None:
        return None
    verdict = compare(_observe(windows.reference), _observe(windows.current))
    document = {
        "models": dict(windows.models),
        "alpha": ALPHA,
        "least_psi": LEAST_PSI,
        "least_count": LEAST_COUNT,
        "reference": _span(windows.reference),
        "current": _span(windows.current),
        "comparisons": [dataclasses.asdict(one) for one in verdict.comparisons],
        "too_few": list(verdict.too_few),
    }
    return NewDriftReport(
        analysis=analysis, version=windows.version, drifted=verdict.drifted, document=document
    )


def look_at_all(
    sessions: sessionmaker[Session], window: Window, *, every: timedelta, by: str
) -> None:
    """Look at every analysis that has answered since the last look, which is ``every`` ago."""
    with reading(sessions) as session:
        due = list(_due(session, every))
    for analysis in due:
        look(sessions, analysis, window, by=by)


def _due(session: Session, every: timedelta) -> Iterator[str]:
    for analysis in observations.analyses(session):
        last = drifts.latest(session, analysis)
        ended = observations.last_ended(session, analysis)
        is_news = last is None or (ended is not None and ended > last.created_at)
        if is_news and (last is None or last.created_at <= now(session) - every):
            yield analysis


def _observe(window: tuple[Observed, ...]) -> list[Observation]:
    return [observe(one.attributes, one.intensity, one.results) for one in window]


def _span(window: tuple[Observed, ...]) -> dict[str, object]:
    """Return how many jobs a window has, and from when to when."""
    if not window:
        return {"jobs": 0, "first": None, "last": None}
    first, last = window[0].ended, window[-1].ended
    return {"jobs": len(window), "first": first.isoformat(), "last": last.isoformat()}
