"""Corrections and drift as readers see them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from records import drifts
from records.tables import Correction


@dataclass(frozen=True, kw_only=True)
class CorrectionRow:
    """What was said of one answer. ``mask`` names the form of a mask that was given."""

    id: int
    job: uuid.UUID
    step: str
    series: str
    verdict: str
    label: str | None
    boxes: list[dict[str, Any]] | None
    mask: str | None
    created_by: str
    created_at: datetime


def correction_row(row: Correction) -> CorrectionRow:
    """Return a correction as it is shown."""
    return CorrectionRow(
        id=row.id,
        job=row.job_id,
        step=row.step,
        series=row.series_instance_uid,
        verdict=row.verdict,
        label=row.label,
        boxes=row.boxes,
        mask=row.mask_form,
        created_by=row.created_by,
        created_at=row.created_at,
    )


@dataclass(frozen=True, kw_only=True)
class DriftRow:
    """The last look at the drift of an analysis. ``since``: when a drift that lasts was found."""

    analysis: str
    version: str
    drifted: bool
    since: datetime | None
    looked_at: datetime
    document: dict[str, Any]


def drift(session: Session) -> list[DriftRow]:
    """Return the last look at each analysis, by name."""
    return [
        DriftRow(
            analysis=row.analysis,
            version=row.version,
            drifted=row.drifted,
            since=drifts.began(session, row.analysis),
            looked_at=row.created_at,
            document=row.document,
        )
        for row in drifts.latest_of_all(session)
    ]
