"""summary.json: a batch in numbers, for scripts."""

from __future__ import annotations

import uuid
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from sqlalchemy.orm import Session

from api.reporting.rows import result_count
from records import listing
from records.base import JobStatus

#: counted even where there are none
_ENDS: Final = (JobStatus.SUCCEEDED, JobStatus.REJECTED, JobStatus.FAILED, JobStatus.CANCELED)


def summarize(session: Session, batch_id: uuid.UUID) -> dict[str, Any]:
    """Return the numbers of a batch as JSON values.

    Raises:
        LookupError: there is no such batch.

    """
    batch = listing.batch(session, batch_id)
    if batch is None:
        raise LookupError(f"there is no batch {batch_id}")
    return {
        "batch": str(batch.id),
        "status": batch.status.value,
        "reason": batch.reason,
        "detail": batch.detail,
        "source": batch.source,
        "analyses": batch.analyses,
        "files": batch.files,
        "studies": batch.studies,
        "series": sum(batch.series.values()),
        "jobs": {status.value: 0 for status in _ENDS} | batch.jobs,
        "results": result_count(session, batch_id),
        "started": batch.created_at.isoformat(),
        "finished": None if batch.finished_at is None else batch.finished_at.isoformat(),
        "seconds": round(batch.seconds, 3),
        "version": nightshift_version(),
    }


def nightshift_version() -> str:
    """Return the installed version of Nightshift."""
    try:
        return version("nightshift")
    except PackageNotFoundError:
        return "unknown"
