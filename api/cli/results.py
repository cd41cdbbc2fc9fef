"""``nightshift results``: what a batch found, row by row; or everything, into a folder."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli import printing
from api.cli.context import open_records
from api.cli.naming import BatchName, batch_id
from api.cli.outcome import ExitCode, Problem

if TYPE_CHECKING:
    import uuid

    from sqlalchemy.orm import Session

    from api.cli.context import Records


class Format(StrEnum):
    """How results are written."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


class Standing(StrEnum):
    """How results stand; the words of ``records.standing``, which costs half a second."""

    IN_FORCE = "in force"
    SUPERSEDED = "superseded"
    ROLLED_BACK = "rolled back"
    RECALLED = "recalled"


def results(
    batch: BatchName = "latest",
    *,
    form: Annotated[Format, typer.Option("--format", help="Of what goes to stdout.")] = Format.CSV,
    standing: Annotated[
        Standing | None, typer.Option("--standing", help="Only results that stand so.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write everything here instead: tables, report, files."),
    ] = None,
) -> None:
    """Print the results of a batch, or export everything it left into a folder."""
    from records.database import reading

    with open_records() as records, reading(records.sessions) as session:
        which = batch_id(session, batch)
        if out is None:
            _print(session, which, form, standing)
    if out is not None:
        with open_records() as records:
            export(records, which, out)
        printing.say(str(out / "report.html"))


def export(records: Records, which: uuid.UUID, out: Path) -> None:
    """Write everything a batch left into ``out``.

    Raises:
        Problem: the folder cannot be written, or its disk is full.
    """
    from api import reporting

    try:
        reporting.export(records.sessions, records.settings.store_path, which, out)
    except OSError as refused:
        message = f"{refused.filename or out} cannot be written: {refused.strerror}."
        mend = f"The results are safe: `nightshift results {str(which)[:8]} --out DIR` tries again."
        raise Problem(message, mend=mend) from refused


def _print(session: Session, which: uuid.UUID, form: Format, standing: Standing | None) -> None:
    """Print the results of a batch in one of the three forms."""
    from dataclasses import asdict

    from records import listing

    rows = (
        row
        for row in listing.result_rows(session, which)
        if standing is None or row.standing.value == standing.value
    )
    if form is Format.JSON:
        printing.say_json([asdict(row) for row in rows])
    elif form is Format.CSV:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(listing.COLUMNS)
        writer.writerows(row.cells() for row in rows)
    else:
        columns = listing.COLUMNS
        _print_parquet({name: getattr(row, name) for name in columns} for row in rows)


def _print_parquet(rows: Iterator[dict[str, object]]) -> None:
    """Write the results to stdout as one Parquet file."""
    if sys.stdout.isatty():
        message = "Parquet is not for reading on a terminal; redirect it: `> results.parquet`."
        raise Problem(message, ExitCode.USAGE)
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as missing:
        message = "Parquet needs pyarrow."
        raise Problem(message, mend="pip install 'nightshift[parquet]'") from missing
    from records.listing import COLUMNS

    numbers = {"value", "score"}
    kinds = [(name, pa.float64() if name in numbers else pa.string()) for name in COLUMNS]
    plain = [
        {name: cell if cell is None or name in numbers else str(cell) for name, cell in row.items()}
        for row in rows
    ]
    table = pa.Table.from_pylist(plain, schema=pa.schema(kinds))
    parquet.write_table(table, sys.stdout.buffer)
