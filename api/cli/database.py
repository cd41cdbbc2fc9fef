"""``nightshift db``: bring the schema up to date, or say whether it is."""

from __future__ import annotations

import typer

from api.cli import printing
from api.cli.context import load_settings, make_home
from api.cli.outcome import Problem
from api.cli.printing import AsJson

app = typer.Typer(no_args_is_help=True, help="The schema of the database.")


@app.command()
def upgrade() -> None:
    """Bring the schema to the newest version. Safe to run twice, and by two at once."""
    from records.database import DatabaseUnavailable, schema_state
    from records.database import upgrade as upgrade_schema

    settings = load_settings()
    make_home(settings)
    try:
        upgrade_schema(settings.database)
        printing.say(schema_state(settings.database).sentence)
    except DatabaseUnavailable as gone:
        raise Problem(str(gone)) from gone


@app.command()
def check(*, as_json: AsJson = False) -> None:
    """Say which schema the database has, and fail when it is not the newest."""
    from records.database import DatabaseUnavailable, schema_state

    settings = load_settings()
    make_home(settings)
    try:
        state = schema_state(settings.database)
    except DatabaseUnavailable as gone:
        raise Problem(str(gone)) from gone
    if as_json:
        printing.say_json(
            {"current": state.current, "head": state.head, "is_current": state.is_current}
        )
    elif state.is_current:
        printing.say(state.sentence)
    if not state.is_current:
        raise Problem(state.sentence)
