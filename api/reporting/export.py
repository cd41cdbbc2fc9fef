"""The export of a batch: what ``run --out DIR`` and ``results --out DIR`` leave."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

from sqlalchemy.orm import Session, sessionmaker

from api.reporting.files import replacing
from api.reporting.report import write_report
from api.reporting.skipped import write_skipped
from api.reporting.studies import write_studies
from api.reporting.summary import summarize
from api.reporting.tables import write_results
from records.database import reading


def export(sessions: sessionmaker[Session], store: Path, batch_id: uuid.UUID, out: Path) -> None:
    """Write tables, files and the page of a batch into ``out``.

    Every file is written whole under its name or not at all; a second export replaces them.
    Memory does not grow with the number of results. summary.json comes last: where it is, the
    rest is complete.

    Args:
        sessions: the records.
        store: folder of the store, for artifacts.
        batch_id: which batch.
        out: made where absent. ``studies/`` in it holds hard links into the store where both lie
            on one disk: read-only files that cost no room.

    Raises:
        LookupError: there is no such batch.
        OSError: ``out`` cannot be written.
        DatabaseUnavailable: by the records.

    """
    with reading(sessions) as session:
        summary = summarize(session, batch_id)
    out.mkdir(parents=True, exist_ok=True)
    write_results(sessions, batch_id, out)
    groups = write_skipped(sessions, batch_id, out)
    summary["artifacts_missing"] = write_studies(sessions, store, batch_id, out)
    write_report(sessions, store, summary, groups, out)
    with replacing(out / "summary.json") as file:
        json.dump(summary, file, indent=2, ensure_ascii=False)
        file.write("\n")
