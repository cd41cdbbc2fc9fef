"""results.csv and results.json: every result, one row each, written as a stream."""

from __future__ import annotations

import csv
import json
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from sqlalchemy.orm import Session, sessionmaker

from api.reporting.files import replacing
from records.database import reading
from records.listing import COLUMNS, ResultRow, ordered_jobs, results_of

_CHUNK: Final = 200


def write_results(sessions: sessionmaker[Session], batch_id: uuid.UUID, out: Path) -> None:
    """Write both tables into ``out``, in the order of studies, analyses, steps and series."""
    with reading(sessions) as session:
        ids = ordered_jobs(session, batch_id)
    with ExitStack() as stack:
        as_csv = stack.enter_context(replacing(out / "results.csv"))
        as_json = stack.enter_context(replacing(out / "results.json"))
        writer = csv.writer(as_csv, lineterminator="\n")
        writer.writerow(COLUMNS)
        between = "[\n"
        for start in range(0, len(ids), _CHUNK):
            with reading(sessions) as session:
                rows = results_of(session, ids[start : start + _CHUNK])
            for row in rows:
                writer.writerow(row.cells())
                as_json.write(between + json.dumps(plain(row), ensure_ascii=False))
                between = ",\n"
        as_json.write("[]\n" if between == "[\n" else "\n]\n")


def plain(row: ResultRow) -> dict[str, Any]:
    """Return a result as JSON values: the columns of the table, then step, ordinal, payload."""
    return {
        name: str(value) if isinstance(value, uuid.UUID) else value
        for name, value in vars(row).items()
    }
