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
    """Print which series were chosen for every input, clause by clause, and the steps."""
    for name, choice in plan.get("inputs", {}).items():
        chosen = len(choice.get("chosen", []))
        missing = ", it is optional" if choice.get("optional") and not chosen else ""
        printing.say(
            f"  input {name}: {printing.plural(chosen, 'series', 'series')} chosen{missing}"
        )
        for series in choice.get("considered", []):
            _say_series(series)
    for name, prepared in plan.get("prepared", {}).items():
        steps = ", then ".join(prepared["steps"])
        printing.say(f"  input {name}: made of {prepared['of']} by {steps}")
    for step in plan.get("steps", []):
        _say_planned(step)


def _say_series(series: Mapping[str, Any]) -> None:
    """Print one series that was looked at: the verdict first, then each clause."""
    part = f" part {series['part']}" if series.get("part") else ""
    is_chosen = bool(series.get("chosen"))
    because = series.get("because") or ("chosen" if is_chosen else "not chosen")
    mark = "+" if is_chosen else "-"
    printing.say(f"    {mark} series {series['series_instance_uid']}{part}: {because}")
    for clause in series.get("clauses", []):
        _say_clause(clause, indent=8)


def _say_clause(clause: Mapping[str, Any], *, indent: int, words: str = "holds FAILS") -> None:
    """Print one clause, and below it those that it is made of: not all of them have to hold."""
    yes, no = words.split()
    mark = f"{'':{indent}}{yes if clause.get('holds') else no:<5}"
    parts = clause.get("parts", [])
    expected, actual = printing.show(clause.get("expected")), printing.show(clause.get("actual"))
    told = f"asked {expected}, is {'none of these' if parts and actual == '-' else actual}"
    printing.say(f"{mark}  {clause['clause']}: {told}")
    for part in parts:
        _say_clause(part, indent=indent + 4, words="yes no")


def _say_planned(step: Mapping[str, Any]) -> None:
    """Print a step as the analysis has it."""
    after = f", after {printing.show(step['after'])}" if step.get("after") else ""
    printing.say(f"  step {step['step']}: {step['model']} on {printing.show(step['input'])}{after}")
    if step.get("crop"):
        printing.say(f"        cropped {step['crop']}")
    if step.get("when"):
        printing.say(f"        when {step['when']}")
    for question in step.get("asks", []):
        printing.say(f"        asks {question}")


def _say_step(step: Mapping[str, Any]) -> None:
    """Print what became of a step, on each of its inputs."""
    name = f"step {step['step']}: {step['model']} {step['version']}"
    how = f"ran, {printing.span(step['seconds'])}" if step.get("ran", True) else "skipped"
    printing.say(f"  {name}: {how}")
    for one in step.get("skipped", []):
        printing.say(f"    - series {one['series_instance_uid']}: skipped, {one['because']}")
        _say_channels(one)
        if one.get("when"):
            _say_clause(one["when"], indent=8)
    for one in step.get("inputs", []):
        printing.say(f"    + series {one['series_instance_uid']}")
        _say_channels(one)
        for prepared in one.get("prepared", []):
            _say_prepared(prepared)
        if one.get("when"):
            _say_clause(one["when"], indent=8)
        if one.get("crop"):
            _say_crop(one["crop"])


def _say_channels(one: Mapping[str, Any]) -> None:
    """Print the series that are the channels of one input, in their order."""
    missing = one.get("missing", [])
    for number, channel in enumerate(one.get("channels", []), start=1):
        name, uid = channel["input"], channel["series_instance_uid"]
        series = "missing" if name in missing else f"series {uid}"
        printing.say(f"        channel {number}: input {name}, {series}")


def _say_prepared(prepared: Mapping[str, Any]) -> None:
    """Print what was made of a series before the model saw it, and what the steps measured."""
    shape = " x ".join(map(str, prepared["shape"]))
    took = printing.span(prepared["seconds"])
    printing.say(f"        prepared as {prepared['input']}, {shape} voxels, {took}:")
    for step in prepared["steps"]:
        stated = {**step["parameters"], **step["found"]}
        told = ", ".join(f"{name} {printing.show(value)}" for name, value in stated.items())
        printing.say(f"          {step['step']}{f': {told}' if told else ''}")


def _say_crop(crop: Mapping[str, Any]) -> None:
    """Print the part of an input that a model saw, in voxels and in the patient."""
    what = printing.show(crop["segments"]) if crop.get("segments") else "the mask"
    if crop.get("box") is None:
        printing.say(f"        cropped to {what} of step {crop['to']}: empty, so it saw the whole")
        return
    first, last = crop["box"][:3], crop["box"][3:]
    axes = zip(("slices", "rows", "columns"), first, last, strict=True)
    voxels = ", ".join(f"{axis} {a} to {b - 1}" for axis, a, b in axes)
    size = " x ".join(printing.show(length) for length in crop["size_mm"])
    margin = printing.show(crop["margin_mm"])
    printing.say(f"        cropped to {what} of step {crop['to']} and {margin} mm around it:")
    printing.say(f"          {voxels}")
    printing.say(f"          {size} mm from ({printing.show(crop['first_mm'])}) mm")


def _say(told: Explanation) -> None:
    """Print the whole explanation."""
    say_head(told.job)
    printing.say("\nWhy these series, and which steps")
    say_plan(told.plan)
    if told.models:
        printing.say("\nModels, as bound when the job was planned")
    for bound in told.models:
        printing.say(f"  step {bound.step}: {bound.name} {bound.version}, digest {bound.digest}")
    if told.steps:
        printing.say("\nStep by step")
    for step in told.steps:
        _say_step(step)
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
