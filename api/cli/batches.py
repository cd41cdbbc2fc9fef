"""``nightshift submit``, ``status``, ``cancel`` and ``retry``: batches of the running services."""

from __future__ import annotations

import time
import uuid
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import printing
from api.cli.context import Records, open_records, operator
from api.cli.naming import BatchName, batch_id, collect
from api.cli.orders import AnalysisOption, SourceArgument, require_analyses, require_source
from api.cli.outcome import ExitCode, Problem, of_batch
from api.cli.printing import AsJson, Column, Limit
from api.cli.progress import Snapshot, job_words

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from records.listing import BatchDetail

COLUMNS = (
    Column("Batch", "short"),
    Column("Status", "status"),
    Column("Studies", "studies", align_right=True),
    Column("Jobs", "shown_jobs"),
    Column("Began", "created_at"),
    Column("Source", "source", folds=True),
)


SHARED = "shared"


class Urgency(StrEnum):
    """How soon a batch is wanted."""

    STAT = "stat"
    URGENT = "urgent"
    ROUTINE = "routine"


def submit(
    source: SourceArgument,
    *,
    analysis: AnalysisOption = None,
    queue: Annotated[Urgency, typer.Option("--queue", help="How soon.")] = Urgency.ROUTINE,
    idempotency_key: Annotated[
        str | None, typer.Option("--idempotency-key", help="The same key makes one batch only.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask the running services to analyse SOURCE; return at once with the batch."""
    from api.cli.submitting import place

    path = require_source(source)
    with open_records() as records:
        names = require_analyses(records, analysis or [])
        made = place(
            records, source=path, analyses=names, queue=f"infer.{queue}", key=idempotency_key
        )
    if as_json:
        printing.say_json({"id": made.id, "status": made.status})
        return
    printing.say(str(made.id))
    printing.note(f"Queued; `nightshift status {str(made.id)[:8]} --watch` shows how it goes.")


def status(
    batch: Annotated[str | None, typer.Argument(metavar="BATCH", help="Default: list all.")] = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Stay until the batch has ended.")] = False,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List the batches, or show how far one is."""
    with open_records() as records:
        if batch is None and not watch:
            _list(records, limit, as_json=as_json)
            return
        which = _id(records, batch or "latest")
        if watch:
            _watch(records, which)
        detail = read_detail(records, which)
    if as_json:
        from dataclasses import asdict

        printing.say_json(asdict(detail))
    else:
        say_detail(detail)
    if watch:
        raise typer.Exit(of_batch(detail.status.value, detail.reason, detail.jobs))


def cancel(batch: BatchName) -> None:
    """Cancel a batch: queued jobs at once, running ones at their next step."""
    from records import batches
    from records.database import unit_of_work

    with open_records() as records, unit_of_work(records.sessions) as session:
        which = batch_id(session, batch)
        became = batches.cancel(session, which, by=operator())
    printing.say(f"Batch {which} is {became.value}; results that it has stay.")


def retry(
    batch: BatchName,
    *,
    cause: Annotated[
        str | None,
        typer.Option("--cause", help="Only this reason code, or what is before its dot."),
    ] = None,
) -> None:
    """Queue the failed and canceled jobs of a batch again, or its scan where it was never planned.

    With --cause also rejected ones, for when a decoder or a setting has changed.
    """
    from records import batches
    from records.database import unit_of_work

    with open_records() as records:
        with unit_of_work(records.sessions) as session:
            which = batch_id(session, batch)
            again = batches.retry(session, which, by=operator(), cause=cause)
        if not (again.scan or again.jobs):
            message = "No job of that batch waits for another try."
            raise Problem(message, ExitCode.NOTHING_TO_ANALYSE)
        if again.scan:
            printing.say("The scan is queued again.")
        if again.jobs:
            printing.say(f"{printing.plural(again.jobs, 'job')} queued again.")
        _find_workers(records, which)


def _find_workers(records: Records, which: uuid.UUID) -> None:
    """Bring a batch whose own workers are gone to those of the running services, if any."""
    from records import batches
    from records.database import unit_of_work
    from worker.queue.embedded import is_up

    if read_detail(records, which).lane == SHARED:
        return
    if records.settings.broker_url is None and not is_up(records.settings):
        printing.note("Give the `nightshift run` command of that batch again to carry them out.")
        return
    with unit_of_work(records.sessions) as session:
        batches.adopt(session, which, lane=SHARED, by=operator())


def read_snapshot(records: Records, which: uuid.UUID) -> Snapshot:
    """Return the batch at this moment."""
    from records import listing
    from records.database import reading

    with reading(records.sessions) as session:
        far = listing.progress(session, which)
        tried = _tried(session, which)
    if far is None:
        message = "The batch was removed meanwhile."
        raise Problem(message)
    return Snapshot(
        at=time.monotonic(),
        status=far.status.value,
        planned=far.status.value != "scanning",
        files_seen=int(far.files.get("files_seen", 0)),
        files_total=far.files.get("files_total"),
        studies=int(far.files.get("studies", 0)),
        jobs=far.jobs,
        tried=tried,
    )


def _tried(session: Session, which: uuid.UUID) -> int:
    """Return how many jobs ended after a worker took them."""
    from sqlalchemy import func, select

    from records.tables import Job

    ended = (Job.batch_id == which) & Job.finished_at.is_not(None) & (Job.attempt > 0)
    return session.scalar(select(func.count()).select_from(Job).where(ended)) or 0


def read_detail(records: Records, which: uuid.UUID) -> BatchDetail:
    """Return one batch with its counts."""
    from records import listing
    from records.database import reading

    with reading(records.sessions) as session:
        detail = listing.batch(session, which)
    if detail is None:
        message = "The batch was removed meanwhile."
        raise Problem(message)
    return detail


def say_detail(detail: BatchDetail) -> None:
    """Print one batch for a person."""
    printing.say(f"Batch {detail.id}: {detail.status.value}, {printing.span(detail.seconds)}")
    if detail.reason:
        printing.say(f"  {detail.reason}: {detail.detail}")
    printing.say(f"  source     {detail.source}")
    printing.say(f"  analyses   {printing.show(detail.analyses) or 'all'}")
    printing.say(f"  files      {_by_verdict(detail.files)}")
    printing.say(f"  series     {_by_verdict(detail.series)}")
    printing.say(f"  studies    {detail.studies:,}")
    far = Snapshot(at=0, status=detail.status.value, planned=True, jobs=detail.jobs)
    printing.say(f"  jobs       {far.total:,}" + (f" ({job_words(far)})" if far.total else ""))
    left = detail.progress.seconds_left
    if left is not None and detail.planned_at is not None:
        speed = detail.progress.jobs_per_minute
        printing.say(f"  pace       {speed} jobs/min, about {printing.span(left)} left")


def _list(records: Records, limit: int, *, as_json: bool) -> None:
    """Print the batches, newest first."""
    from records import listing
    from records.database import reading

    with reading(records.sessions) as session:
        found = collect(
            lambda size, cursor: listing.batches(session, limit=size, cursor=cursor), limit
        )
    rows: list[dict[str, Any]] = [vars(each) for each in found]
    if not as_json:
        rows = [
            row | {"short": str(row["id"])[:8], "shown_jobs": _told(row["jobs"])} for row in rows
        ]
    printing.listing(rows, COLUMNS, as_json=as_json, empty="There is no batch yet.")


def _watch(records: Records, which: uuid.UUID) -> None:
    """Show a batch until it has ended."""
    from api.cli import watching

    with watching.display(time.monotonic()) as shown:
        watching.watch(lambda: read_snapshot(records, which), shown)


def _id(records: Records, name: str) -> uuid.UUID:
    """Return the id of the batch named."""
    from records.database import reading

    with reading(records.sessions) as session:
        return batch_id(session, name)


def _told(jobs: dict[str, int]) -> str:
    """Return jobs by status in words."""
    return job_words(Snapshot(at=0, status="", planned=True, jobs=jobs)) or "none"


def _by_verdict(counts: dict[str, int]) -> str:
    """Return ``1,204 (1,198 ok, 6 file.not_dicom)``."""
    if not counts:
        return "0"
    told = ", ".join(f"{count:,} {verdict}" for verdict, count in counts.items())
    return f"{sum(counts.values()):,} ({told})"
