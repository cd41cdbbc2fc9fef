"""How a person names a batch or a job: its id, the first characters of it, or ``latest``."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from api.cli.outcome import ExitCode, Problem

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from records.listing import Page
    from records.tables import Batch, Job, Training

T = TypeVar("T")

BatchName = Annotated[
    str,
    typer.Argument(metavar="BATCH", help="Id of a batch, the first characters of it, or `latest`."),
]
JobName = Annotated[
    str, typer.Argument(metavar="JOB", help="Id of a job, or the first characters of it.")
]

FEWEST_CHARACTERS = 4
PAGE = 500


def batch_id(session: Session, name: str) -> uuid.UUID:
    """Return the id of the batch that ``name`` names."""
    from records.tables import Batch

    if name == "latest":
        return _latest(session)
    return _by_prefix(session, Batch, name, "batch", "`nightshift status` lists them.")


def job_id(session: Session, name: str) -> uuid.UUID:
    """Return the id of the job that ``name`` names."""
    from records.tables import Job

    return _by_prefix(session, Job, name, "job", "`nightshift jobs --batch BATCH` lists them.")


def training_id(session: Session, name: str) -> uuid.UUID:
    """Return the id of the training that ``name`` names."""
    from records.tables import Training

    return _by_prefix(session, Training, name, "training", "`nightshift trainings` lists them.")


def collect(turn: Callable[[int, str | None], Page[T]], limit: int) -> list[T]:
    """Return up to ``limit`` rows of a paged listing.

    Args:
        turn: gives one page, for a page size and the cursor of where to go on.
        limit: rows wanted.
    """
    rows: list[T] = []
    cursor: str | None = None
    while len(rows) < limit:
        page = turn(min(PAGE, limit - len(rows)), cursor)
        rows.extend(page.items)
        cursor = page.next
        if cursor is None:
            break
    return rows


def _latest(session: Session) -> uuid.UUID:
    """Return the id of the newest batch."""
    from records import listing

    newest = listing.batches(session, limit=1).items
    if not newest:
        message = "There is no batch yet."
        raise Problem(message, ExitCode.USAGE, mend="`nightshift run` or `submit` makes one.")
    return newest[0].id


def _by_prefix(
    session: Session, kind: type[Batch | Job | Training], name: str, noun: str, mend: str
) -> uuid.UUID:
    """Return the one id that begins with ``name``; dashes do not matter."""
    from sqlalchemy import String, cast, func, select

    digits = name.lower().replace("-", "")
    if len(digits) < FEWEST_CHARACTERS or not set(digits) <= set("0123456789abcdef"):
        message = f"{name!r} does not name a {noun}: give its id, or the first characters of it."
        raise Problem(message, ExitCode.USAGE, mend=mend)
    plain = func.replace(func.lower(cast(kind.id, String)), "-", "")
    found = session.scalars(select(kind.id).where(plain.like(f"{digits}%")).limit(2)).all()
    if len(found) == 1:
        return found[0]
    said = "names more than one" if found else "names no"
    raise Problem(f"{name!r} {said} {noun}.", ExitCode.USAGE, mend=mend)
