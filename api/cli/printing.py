"""What every verb prints with: two consoles, tables, JSON, and times and numbers for people."""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:  # rich costs 60 ms; `nightshift --json` needs none of it
    from rich.console import Console

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many rows.")]

#: seconds between two plain lines of progress
TELL_EVERY = 10.0
STATUS_COLOURS = {
    "succeeded": "green",
    "finished": "green",
    "active": "green",
    "ok": "green",
    "running": "cyan",
    "scanning": "cyan",
    "candidate": "cyan",
    "queued": "blue",
    "paused": "blue",
    "rejected": "yellow",
    "warning": "yellow",
    "retired": "bright_black",
    "canceled": "bright_black",
    "failed": "red",
    "problem": "red",
}


@dataclass(frozen=True)
class Column:
    """One column of a listing: its heading, the key of the row it shows, and how to show it."""

    heading: str
    key: str
    align_right: bool = False
    folds: bool = False


def out() -> Console:
    """Return the console of answers (stdout)."""
    return _console(to_stderr=False)


def err() -> Console:
    """Return the console of everything that is not the answer (stderr)."""
    return _console(to_stderr=True)


def _console(*, to_stderr: bool) -> Console:
    """Return a console as wide as the terminal; wide enough for every table where there is none."""
    from rich.console import Console

    stream = sys.stderr if to_stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else 400
    return Console(stderr=to_stderr, highlight=False, width=width)


def say(text: str = "") -> None:
    """Print one line of the answer."""
    typer.echo(text)


def note(text: str) -> None:
    """Print one line beside the answer, to stderr."""
    typer.echo(text, err=True)


def say_json(value: Any) -> None:
    """Print ``value`` as JSON: times as ISO 8601 in UTC, ids and paths as text."""
    typer.echo(json.dumps(value, indent=2, default=_plain, ensure_ascii=False))


def listing(
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[Column],
    *,
    as_json: bool,
    empty: str,
) -> None:
    """Print ``rows`` as a table, or whole as JSON; ``empty`` is said when there is none."""
    found = list(rows)
    if as_json:
        say_json(found)
    elif found:
        out().print(table(found, columns))
    else:
        note(empty)


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> Any:
    """Return ``rows`` as a rich table without boxes, which a person can also cut and paste."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        drawn.add_column(
            column.heading,
            justify="right" if column.align_right else "left",
            overflow="fold" if column.folds else "ellipsis",
            no_wrap=not column.folds,
        )
    for row in rows:
        cells = [show(row[column.key]) if column.key in row else "" for column in columns]
        drawn.add_row(*(Text(cell, style=STATUS_COLOURS.get(cell, "")) for cell in cells))
    return drawn


def show(value: Any) -> str:
    """Return ``value`` as a person reads it in a cell."""
    if value is None or value in ({}, [], ()):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return _show_many(value)


def _show_many(value: Any) -> str:
    """Return a collection, or anything else, as a person reads it in a cell."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={show(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(show(item) for item in value)
    return str(value)


def span(seconds: float | timedelta) -> str:
    """Return a duration in two units at most: ``48 s``, ``3 min 20 s``, ``2 h 05 min``."""
    total = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
    if total < 10:
        return f"{total:.1f} s"
    whole = round(total)
    if whole < 60:
        return f"{whole} s"
    minutes, left = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {left:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def size(count: float) -> str:
    """Return a number of bytes in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def plural(count: int, noun: str, several: str = "") -> str:
    """Return ``1 study``, ``2 studies``; thousands are set apart."""
    return f"{count:,} {noun if count == 1 else several or noun + 's'}"


class Counter:
    """Shows one count that grows: in place on a terminal, now and then a line elsewhere."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told = clock()

    def show(self, words: str) -> None:
        """Show how far it is."""
        if sys.stderr.isatty():
            typer.echo(f"\r{words}", err=True, nl=False)
        elif self._clock() > self._told + TELL_EVERY:
            self._told = self._clock()
            note(words)

    def end(self) -> None:
        """Give the line back."""
        if sys.stderr.isatty():
            typer.echo("\r\033[K", err=True, nl=False)


def _plain(value: Any) -> Any:
    """Return what JSON can carry for a value it cannot."""
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case uuid.UUID() | Path():
            return str(value)
        case timedelta():
            return value.total_seconds()
        case set() | frozenset():
            return sorted(value)
        case _:
            message = f"{type(value).__name__} has no JSON form"
            raise TypeError(message)
