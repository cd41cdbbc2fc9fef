"""``nightshift schedules``: cron lines, new cases and drifts that make trainings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli import printing
from api.cli.context import open_records, operator
from api.cli.naming import collect
from api.cli.outcome import ExitCode, Problem, sentence_of
from api.cli.printing import AsJson, Column
from api.cli.recipes import manifest_path, read_recipe

if TYPE_CHECKING:
    from records.listing import ScheduleRow

app = typer.Typer(no_args_is_help=True, help="Trainings that begin by themselves.")

Name = Annotated[str, typer.Argument(help="Name of the schedule.")]

COLUMNS = (
    Column("Schedule", "name"),
    Column("When (UTC)", "when"),
    Column("Recipe", "recipe_name"),
    Column("Manifest", "manifest", folds=True),
    Column("Last slot", "last_slot"),
    Column("Next slot", "next_slot"),
)
MOST = 10_000


@app.command()
def add(  # noqa: PLR0913 - these are the words of the command
    name: Name,
    *,
    recipe: Annotated[str, typer.Option("--recipe", help="A YAML file, or a shipped model.")],
    manifest: Annotated[Path, typer.Option("--manifest", help="The list of training cases.")],
    cron: Annotated[
        str | None, typer.Option("--cron", help="Five fields, UTC: `0 2 * * 6`.")
    ] = None,
    new_cases: Annotated[
        int | None, typer.Option("--new-cases", help="When so many corrections have come.")
    ] = None,
    on_drift: Annotated[bool, typer.Option("--on-drift", help="When a drift was found.")] = False,
    analysis: Annotated[
        str | None,
        typer.Option("--analysis", help="Its corrections join the manifest; its drift counts."),
    ] = None,
) -> None:
    """Add a schedule: by a cron line, by new cases or by drift."""
    from records import listing, schedules
    from records.database import unit_of_work

    new = schedules.NewSchedule(
        name=name,
        recipe=read_recipe(recipe),
        manifest=manifest_path(manifest),
        cron=cron,
        new_cases=new_cases,
        on_drift=on_drift,
        analysis=analysis,
    )
    with open_records() as records, unit_of_work(records.sessions) as session, _refusals():
        row = schedules.add(session, new, by=operator())
        shown = listing.schedule_row(row)
    printing.say(f"The schedule {name} trains {_when(shown)}.")
    if cron is not None:
        first = schedules.next_slot(cron, shown.created_at)
        printing.say(f"It begins at {printing.show(first)}.")
    printing.note("It runs while `nightshift up`, or a beat and a trainer, are running.")


@app.command("list")
def list_schedules(*, as_json: AsJson = False) -> None:
    """List the schedules and when they run next."""
    from datetime import UTC, datetime

    from records import listing
    from records.database import reading
    from records.schedules import next_slot

    with open_records() as records, reading(records.sessions) as session:
        found = collect(
            lambda size, cursor: listing.schedules(session, limit=size, cursor=cursor), MOST
        )
    at = datetime.now(UTC)
    rows = [
        vars(row)
        | {
            "recipe_name": row.recipe.get("name"),
            "when": _when(row),
            "next_slot": next_slot(row.cron, at) if row.cron else None,
        }
        for row in found
    ]
    printing.listing(rows, COLUMNS, as_json=as_json, empty="There is no schedule.")


@app.command()
def remove(name: Name) -> None:
    """Remove a schedule. The trainings it made stay."""
    from records import schedules
    from records.database import unit_of_work

    with open_records() as records, unit_of_work(records.sessions) as session, _refusals():
        schedules.remove(session, name, by=operator())
    printing.say(f"The schedule {name} is removed.")


@app.command()
def run(name: Name) -> None:
    """Make a training of this schedule now, beside its slots."""
    from records import schedules
    from records.database import unit_of_work

    with open_records() as records, unit_of_work(records.sessions) as session, _refusals():
        training = schedules.run(session, name, by=operator()).id
    printing.say(str(training))
    printing.note("Queued; `nightshift trainings` shows how it goes.")


def _when(row: ScheduleRow) -> str:
    """Return what a schedule waits for, in words."""
    if row.cron is not None:
        return f"at {row.cron}"
    if row.on_drift:
        return f"on drift of {row.analysis}"
    return f"on {row.new_cases} new cases of {row.analysis}"


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what the records refuse into a sentence."""
    from records.schedules import CronInvalid, ScheduleMissing, ScheduleTaken, TriggerInvalid

    try:
        yield
    except (CronInvalid, ScheduleMissing, ScheduleTaken, TriggerInvalid) as refused:
        raise Problem(
            sentence_of(refused), ExitCode.USAGE, mend="`nightshift schedules list`"
        ) from refused
