"""Looks at drift, as the desk keeps them."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from records import drifts
from records.database import unit_of_work
from records.drifts import NewDriftReport


def compared(name: str, *, drifted: bool, psi: float = 0.05) -> dict[str, Any]:
    """Return one value of a report."""
    return {
        "name": name,
        "test": "G",
        "statistic": 12.5,
        "p": 0.001,
        "adjusted_p": 0.004,
        "psi": psi,
        "drifted": drifted,
        "bins": ["Acme", "<Other>"],
        "reference": [0.75, 0.25],
        "current": [0.25, 0.75],
    }


def look(sessions: sessionmaker[Session], *, drifted: bool) -> None:
    """Keep a look at the analysis ``light``."""
    window = {"jobs": 200, "first": "2026-01-01T00:00:00+00:00", "last": "2026-02-01T00:00:00"}
    document = {
        "models": {"look": "quick@1.0"},
        "alpha": 0.01,
        "least_psi": 0.2,
        "least_count": 30,
        "reference": window,
        "current": window | {"jobs": 50},
        "comparisons": [
            compared("tag.model_name", drifted=drifted, psi=1.5),
            compared("output.look.answer", drifted=False),
        ],
        "too_few": ["intensity.mean"],
    }
    new = NewDriftReport(analysis="light", version="1", drifted=drifted, document=document)
    with unit_of_work(sessions) as session:
        drifts.add(session, new, by="desk")
