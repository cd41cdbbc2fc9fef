"""Corrections as readers see them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

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
