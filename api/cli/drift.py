"""``nightshift drift``: whether what comes in is still what it was."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import printing
from api.cli.children import ask
from api.cli.context import open_records
from api.cli.outcome import ExitCode, Problem
from api.cli.printing import AsJson, Column

if TYPE_CHECKING:
    from records.listing import DriftRow

COLUMNS = (
    Column("Analysis", "analysis"),
    Column("Version", "version"),
    Column("Drift", "drift"),
    Column("Values", "values", folds=True),
    Column("Since", "since"),
    Column("Windows (jobs)", "windows"),
    Column("Looked at", "looked_at"),
)
Time = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"], help="UTC, of the reference."),
]


def drift(
    *,
    analysis: Annotated[
        str | None, typer.Option("--analysis", help="Of one; default: all.")
    ] = None,
    now: Annotated[bool, typer.Option("--now", help="Look now; beat looks every hour.")] = False,
    since: Time = None,
    until: Time = None,
    page: Annotated[
        Path | None, typer.Option("--page", help="Write the page to look at to this file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether images and answers are distributed as they were, and which values are not.

    The reference is the first jobs under the active models. With --since or --until it is those
    that ended then: such a look is shown and not kept, so no alarm or schedule goes by it.
    """
    from records import listing
    from records.database import reading

    with open_records() as records:
        said = _look(records.settings, analysis, since, until) if now or since or until else ""
        with reading(records.sessions) as session:
            kept = [row for row in listing.drift(session) if analysis in (None, row.analysis)]
    found = _stated(said) if said else kept
    if page is not None:
        _write_page(found, page)
    rows = [vars(row) if as_json else _row(row) for row in found]
    printing.listing(rows, COLUMNS, as_json=as_json, empty="No look was taken yet.")


def _write_page(found: list[DriftRow], target: Path) -> None:
    """Write the page to look at."""
    from api.reporting.drift import render

    try:
        target.write_text(render(found), encoding="utf-8")
    except OSError as fault:
        raise Problem(f"The page cannot be written: {fault.strerror}.") from fault


def _look(
    settings: Any, analysis: str | None, since: datetime | None, until: datetime | None
) -> str:
    """Let the pipeline look. Returns what it found where that is not kept."""
    words = ["look-at-drift"]
    words += [] if analysis is None else [f"--analysis={analysis}"]
    for name, at in (("since", since), ("until", until)):
        words += [] if at is None else [f"--{name}={at.isoformat()}+00:00"]
    answer = ask(settings, words)
    if answer.status:
        raise Problem(answer.sentence, ExitCode(answer.status))
    return answer.said


def _stated(said: str) -> list[DriftRow]:
    """Return looks that are not kept: since when a drift lasts, they cannot say."""
    from records.listing import DriftRow

    at = datetime.now(UTC)
    return [DriftRow(**one, since=None, looked_at=at) for one in json.loads(said)]


def _row(row: DriftRow) -> dict[str, Any]:
    """Return what a listing shows of a look."""
    document = row.document
    drifted = [one["name"] for one in document["comparisons"] if one["drifted"]]
    state = "none" if document["comparisons"] else "too few jobs"
    return {
        "analysis": row.analysis,
        "version": row.version,
        "drift": "drift" if row.drifted else state,
        "values": ", ".join(drifted) or None,
        "since": row.since,
        "windows": f"{document['reference']['jobs']} and {document['current']['jobs']}",
        "looked_at": row.looked_at,
    }
