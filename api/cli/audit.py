"""``nightshift audit``: read the trail, prove that it is whole, take it elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import printing
from api.cli.context import open_records
from api.cli.naming import collect
from api.cli.outcome import Problem
from api.cli.printing import AsJson, Column, Limit

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

app = typer.Typer(no_args_is_help=True, help="Who did what to which object, when, how it ended.")

COLUMNS = (
    Column("No.", "sequence", align_right=True),
    Column("When", "event_date_time"),
    Column("Event", "event_id"),
    Column("Who", "active_participant"),
    Column("Object", "participant_object_type"),
    Column("Id", "participant_object_id"),
    Column("Outcome", "event_outcome_indicator", align_right=True),
)
ROWS_PER_FETCH = 1000


@app.command("list")
def list_records(
    *,
    event: Annotated[str | None, typer.Option("--event", help="Only this event.")] = None,
    by: Annotated[str | None, typer.Option("--by", help="Only what this one did.")] = None,
    about: Annotated[str | None, typer.Option("--object", help="Only this object's id.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List audit records, newest first."""
    from records import listing
    from records.database import reading
    from records.listing.trail import About

    asked = About(event_id=event, active_participant=by, object_id=about)
    with open_records() as records, reading(records.sessions) as session:
        found = collect(
            lambda size, cursor: listing.audit_records(session, asked, limit=size, cursor=cursor),
            limit,
        )
    rows = [vars(record) for record in found]
    printing.listing(rows, COLUMNS, as_json=as_json, empty="There is no such record.")


@app.command()
def verify(*, as_json: AsJson = False) -> None:
    """Prove that no record was changed, removed or inserted; fail at the first that was."""
    from dataclasses import asdict

    from records import audit
    from records.database import reading

    with open_records() as records, reading(records.sessions) as session:
        verdict = audit.verify(session)
    if as_json:
        printing.say_json(asdict(verdict) | {"ok": verdict.ok})
    elif verdict.ok:
        printing.say(verdict.sentence)
    if not verdict.ok:
        raise Problem(verdict.sentence)


@app.command()
def export(
    *,
    out: Annotated[
        Path | None, typer.Option("--out", help="A new file; default: stdout.", dir_okay=False)
    ] = None,
) -> None:
    """Write every record as one line of JSON, oldest first, hashes included."""
    from records.database import reading

    with open_records() as records, reading(records.sessions) as session:
        if out is None:
            for line in _lines(session):
                sys.stdout.write(line)
            return
        try:
            with out.open("x", encoding="utf-8") as file:
                file.writelines(_lines(session))
        except FileExistsError as there:
            message = f"{out} is there already; an export never replaces a file."
            raise Problem(message) from there
        except OSError as refused:
            message = f"{out} cannot be written: {refused.strerror}."
            raise Problem(message) from refused
    printing.note(f"Written to {out}.")


def _lines(session: Session) -> Iterator[str]:
    """Yield one line of JSON per record, without holding the trail in memory."""
    from sqlalchemy import select

    from records.tables import AuditRecord

    query = select(AuditRecord).order_by(AuditRecord.sequence)
    names = [column.key for column in AuditRecord.__table__.columns]
    for record in session.scalars(query.execution_options(yield_per=ROWS_PER_FETCH)):
        row: dict[str, Any] = {name: getattr(record, name) for name in names}
        row["event_date_time"] = record.event_date_time.isoformat()
        yield json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n"
