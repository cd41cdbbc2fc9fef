"""``nightshift schedules``: cron lines that make trainings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from api.cli import printing
from api.cli.context import open_records, operator
from api.cli.naming import collect
from api.cli.outcome import ExitCode, Problem, sentence_of
from api.cli.printing import AsJson, Column
from api.cli.recipes import manifest_path, read_recipe

app = typer.Typer(no_args_is_help=True, help="Trainings that begin by themselves.")

Name = Annotated[str, typer.Argument(help="Name of the schedule.")]

COLUMNS = (
    Column("Schedule", "name"),
    Column("Cron (UTC)", "cron"),
    Column("Recipe", "recipe_name"),
    Column("Manifest", "manifest", folds=True),
    Column("Last slot", "last_slot"),
    Column("Next slot", "next_slot"),
)
MOST = 10_000


@app.command()
def add(
    name: Name,
    *,
    cron: Annotated[str, typer.Option("--cron", help="Five fields, UTC: `0 2 * * 6`.")],
    recipe: Annotated[str, typer.Option("--recipe", help="A YAML file, or a shipped model.")],
    manifest: Annotated[Path, typer.Option("--manifest", help="The list of training cases.")],
) -> None:
    """Add a schedule. Its first slot is the first one after now."""
    from records import schedules
    from records.database import unit_of_work

    new = schedules.NewSchedule(
        name=name,
        cron=cron,
        recipe=read_recipe(recipe),
        manifest=manifest_path(manifest),
    )
    with open_records() as records, unit_of_work(records.sessions) as session, _refusals():
        row = schedules.add(session, new, by=operator())
        first = schedules.next_slot(cron, row.created_at)
    printing.say(f"The schedule {name} trains first at {printing.show(first)}.")
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
        vars(row) | {"recipe_name": row.recipe.get("name"), "next_slot": next_slot(row.cron, at)}
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


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what the records refuse into a sentence."""
    from records.schedules import CronInvalid, ScheduleMissing, ScheduleTaken

    try:
        yield
    except (CronInvalid, ScheduleMissing, ScheduleTaken) as refused:
        raise Problem(
            sentence_of(refused), ExitCode.USAGE, mend="`nightshift schedules list`"
        ) from refused
