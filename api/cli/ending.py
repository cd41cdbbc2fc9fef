"""The last lines of a run: what was found, what was not analysed and why, where to look."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.cli import printing
from api.cli.naming import collect
from api.cli.printing import Column
from api.cli.progress import Snapshot, job_words

if TYPE_CHECKING:
    from api.cli.context import Records
    from records.listing import BatchDetail

REASONS = (
    Column("Not analysed", "reason"),
    Column("Count", "count", align_right=True),
    Column("What", "what"),
    Column("The first of them", "example", folds=True),
)
MOST = 100_000


def say(records: Records, detail: BatchDetail, out: Path, *, as_json: bool) -> None:
    """Print how a batch ended."""
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    if as_json:
        printing.say_json(summary | {"out": out, "report": out / "report.html"})
        return
    far = Snapshot(at=0, status=detail.status.value, planned=True, jobs=detail.jobs)
    printing.say(f"Batch {str(detail.id)[:8]} {detail.status.value}")
    if detail.reason:
        printing.say(f"  {detail.reason}: {detail.detail}")
    files = sum(detail.files.values())
    printing.say(f"  {printing.plural(files, 'file')}, {detail.files.get('ok', 0):,} readable")
    printing.say(f"  {printing.plural(detail.studies, 'study', 'studies')}")
    printing.say(f"  {printing.plural(far.total, 'job')}" + _told(far))
    printing.say(f"  {printing.plural(summary['results'], 'result')}")
    reasons = _not_analysed(records, detail)
    if reasons:
        printing.say()
        printing.out().print(printing.table(reasons, REASONS))
    printing.say(f"\nReport    {out / 'report.html'}")
    printing.say(f"Tables    {out / 'results.csv'}, {out / 'skipped.csv'}")
    if far.done != far.jobs.get("succeeded", 0):
        short = str(detail.id)[:8]
        printing.say(f"Why       nightshift jobs --batch {short}; nightshift explain JOB")


def _told(far: Snapshot) -> str:
    """Return the jobs by status in words."""
    return f": {job_words(far)}" if far.total else ""


def _not_analysed(records: Records, detail: BatchDetail) -> list[dict[str, Any]]:
    """Return every reason for which a file, series or job has no result, with its count."""
    rows = [
        {"reason": verdict, "count": count, "what": "file" if count == 1 else "files"}
        for verdict, count in detail.files.items()
        if verdict != "ok"
    ]
    rows += [
        {"reason": verdict, "count": count, "what": "series"}
        for verdict, count in detail.series.items()
        if verdict != "ok"
    ]
    return rows + _jobs_without_result(records, detail)


def _jobs_without_result(records: Records, detail: BatchDetail) -> list[dict[str, Any]]:
    """Return the reasons of jobs that did not succeed, with the sentence of the first of each."""
    from records import listing
    from records.base import JobStatus
    from records.database import reading

    wanted = [JobStatus.REJECTED, JobStatus.FAILED, JobStatus.CANCELED]
    with reading(records.sessions) as session:
        found = collect(
            lambda size, cursor: listing.jobs(
                session, detail.id, statuses=wanted, limit=size, cursor=cursor
            ),
            MOST,
        )
    counts = Counter((job.status.value, job.reason) for job in found)
    first = {(job.status.value, job.reason): job.detail for job in reversed(found)}
    return [
        {
            "reason": reason or status,
            "count": count,
            "what": f"{'job' if count == 1 else 'jobs'} {status}",
            "example": first[status, reason],
        }
        for (status, reason), count in counts.most_common()
    ]
