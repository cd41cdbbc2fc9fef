"""``nightshift explain``: why a job took these series, then step by step what happened to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from api.cli import printing
from api.cli.context import open_records
from api.cli.jobs import say_head, why
from api.cli.naming import JobName, job_id
from api.cli.outcome import Problem
from api.cli.printing import AsJson

if TYPE_CHECKING:
    from records.listing import AttemptRow, EventRow, Explanation


def explain(job: JobName, *, as_json: AsJson = False) -> None:
    """Tell why these series were chosen and not the others, and what happened to the job."""
    from dataclasses import asdict

    from records import listing
    from records.database import reading

    with open_records() as records, reading(records.sessions) as session:
        told = listing.explain(session, job_id(session, job))
    if told is None:
        message = "The job was removed meanwhile."
        raise Problem(message)
    if as_json:
        printing.say_json(asdict(told))
        return
    _say(told)


def say_plan(plan: Mapping[str, Any]) -> None:
    """Print for every input of an analysis which series were chosen, clause by clause."""
    for name, choice in plan.get("inputs", {}).items():
        chosen = len(choice.get("chosen", []))
        printing.say(f"  input {name}: {printing.plural(chosen, 'series', 'series')} chosen")
        for series in choice.get("considered", []):
            _say_series(series)


def _say_series(series: Mapping[str, Any]) -> None:
    """Print one series that was looked at: the verdict first, then each clause."""
    part = f" part {series['part']}" if series.get("part") else ""
    is_chosen = bool(series.get("chosen"))
    because = series.get("because") or ("chosen" if is_chosen else "not chosen")
    mark = "+" if is_chosen else "-"
    printing.say(f"    {mark} series {series['series_instance_uid']}{part}: {because}")
    for clause in series.get("clauses", []):
        holds = "holds" if clause.get("holds") else "FAILS"
        expected, actual = (
            printing.show(clause.get("expected")),
            printing.show(clause.get("actual")),
        )
        printing.say(f"        {holds}  {clause['clause']}: asked {expected}, is {actual}")


def _say(told: Explanation) -> None:
    """Print the whole explanation."""
    say_head(told.job)
    printing.say("\nWhy these series")
    say_plan(told.plan)
    if told.models:
        printing.say("\nModels, as bound when the job was planned")
    for bound in told.models:
        printing.say(f"  step {bound.step}: {bound.name} {bound.version}, digest {bound.digest}")
    printing.say("\nWhat happened")
    for event in told.events:
        _say_event(event)
    if told.attempts:
        printing.say("\nTries")
    for attempt in told.attempts:
        _say_attempt(attempt)


def _say_event(event: EventRow) -> None:
    """Print one change of status."""
    change = f"{event.from_status} -> {event.to_status}" if event.from_status else event.to_status
    told = f" ({why(event.reason, event.detail)})" if event.reason else ""
    printing.say(f"  {printing.show(event.at)}  {change}{told}")


def _say_attempt(attempt: AttemptRow) -> None:
    """Print one try: who, how long, how it ended."""
    ended = attempt.ended_at
    took = printing.span(ended - attempt.started_at) if ended else "still at it"
    told = f" ({why(attempt.reason, attempt.detail)})" if attempt.reason else ""
    outcome = attempt.outcome or "running"
    printing.say(f"  {attempt.number}. {outcome}{told}, {took}, by {attempt.owner}")
