"""``nightshift jobs`` and ``job``: the jobs of a batch, and everything about one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import printing
from api.cli.context import open_records
from api.cli.naming import JobName, batch_id, collect, job_id
from api.cli.outcome import ExitCode, Problem
from api.cli.printing import AsJson, Column, Limit

if TYPE_CHECKING:
    from records.base import JobStatus
    from records.listing import JobDetail, JobSummary

COLUMNS = (
    Column("Job", "short"),
    Column("Status", "status"),
    Column("Study", "study_instance_uid"),
    Column("Analysis", "analysis"),
    Column("Tries", "attempt", align_right=True),
    Column("Time", "took", align_right=True),
    Column("Why", "why", folds=True),
)
FILES = (
    Column("File", "name"),
    Column("Kind", "kind"),
    Column("Size", "shown_size", align_right=True),
    Column("SHA-256", "sha256"),
)


def jobs(
    *,
    batch: Annotated[str, typer.Option("--batch", help="Id of a batch, or `latest`.")] = "latest",
    status: Annotated[
        list[str] | None, typer.Option("--status", help="Only jobs in this status; repeatable.")
    ] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List the jobs of a batch."""
    from records import listing
    from records.database import reading

    statuses = _statuses(status or [])
    with open_records() as records, reading(records.sessions) as session:
        which = batch_id(session, batch)
        found = collect(
            lambda size, cursor: listing.jobs(
                session, which, statuses=statuses, limit=size, cursor=cursor
            ),
            limit,
        )
    rows = [vars(job) if as_json else row_of(job) for job in found]
    printing.listing(rows, COLUMNS, as_json=as_json, empty="No job is in that status.")
    if len(found) == limit and not as_json:
        printing.note(f"The first {limit} jobs; `--limit` shows more.")


def job(job: JobName, *, as_json: AsJson = False) -> None:
    """Show one job: its models, its tries, the files it wrote."""
    from records import listing
    from records.database import reading

    with open_records() as records, reading(records.sessions) as session:
        which = job_id(session, job)
        detail = listing.job(session, which)
        files = [vars(file) for file in listing.artifacts(session, which)]
    if detail is None:
        message = "The job was removed meanwhile."
        raise Problem(message)
    if as_json:
        printing.say_json(_plain(detail) | {"artifacts": files})
        return
    say_head(detail)
    for bound in detail.models:
        printing.say(f"  step {bound.step}: {bound.name} {bound.version} ({bound.digest[:12]})")
    if files:
        shown = [file | {"shown_size": printing.size(file["size"])} for file in files]
        printing.say()
        printing.out().print(printing.table(shown, FILES))
    printing.say(f"\n`nightshift explain {str(detail.id)[:8]}` tells why and how.")


def row_of(job: JobSummary) -> dict[str, Any]:
    """Return what a listing shows of a job."""
    began, ended = job.started_at, job.finished_at
    return {
        **vars(job),
        "short": str(job.id)[:8],
        "status": job.status.value,
        "took": printing.span(ended - began) if began and ended else None,
        "why": why(job.reason, job.detail) or None,
    }


def why(reason: str | None, detail: str | None) -> str:
    """Return a reason code and its sentence as one text; empty without a reason."""
    if reason is None:
        return ""
    return f"{reason}: {detail}" if detail else reason


def say_head(job: JobSummary) -> None:
    """Print the first lines about a job."""
    printing.say(f"Job {job.id}: {job.status.value}")
    printing.say(f"  study {job.study_instance_uid}")
    printing.say(f"  analysis {job.analysis} {job.analysis_version}, queue {job.queue}")
    printing.say(f"  tries {job.attempt} of {job.max_attempts}")
    if job.reason:
        printing.say(f"  {why(job.reason, job.detail)}")


def _plain(detail: JobDetail) -> dict[str, Any]:
    """Return one job with everything under it as plain values."""
    from dataclasses import asdict

    return asdict(detail)


def _statuses(words: list[str]) -> list[JobStatus]:
    """Return job statuses; another word is wrong usage."""
    from records.base import JobStatus

    try:
        return [JobStatus(word) for word in words]
    except ValueError as unknown:
        known = ", ".join(status.value for status in JobStatus)
        message = f"{unknown}; a job is {known}."
        raise Problem(message, ExitCode.USAGE) from unknown
