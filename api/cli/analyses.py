"""``nightshift analyses``: which there are, what one says, whether a new one is sound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli import printing
from api.cli.children import ask, register_shipped
from api.cli.context import load_settings, open_records
from api.cli.naming import collect
from api.cli.outcome import ExitCode, Problem
from api.cli.printing import AsJson, Column

if TYPE_CHECKING:
    from api.cli.context import Records
    from records.listing import AnalysisSummary

app = typer.Typer(no_args_is_help=True, help="Analyses: what is looked for, and in which series.")

COLUMNS = (
    Column("Analysis", "name"),
    Column("Version", "version"),
    Column("Title", "title", folds=True),
    Column("Digest", "short_digest"),
)
MOST = 10_000


@app.command("list")
def list_analyses(*, as_json: AsJson = False) -> None:
    """List the registered analyses."""
    with open_records() as records:
        found = known(records)
    rows = [vars(each) | {"short_digest": each.digest[:12]} for each in found]
    printing.listing(rows, COLUMNS, as_json=as_json, empty="No analysis is registered.")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="NAME or NAME@VERSION; the newest by default.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show the document of one analysis."""
    from records import listing
    from records.database import reading

    plain, _, version = name.partition("@")
    with open_records() as records:
        known(records)
        with reading(records.sessions) as session:
            found = listing.analysis(session, plain, version or None)
    if found is None:
        message = f"There is no analysis {name}."
        raise Problem(message, ExitCode.USAGE, mend="`nightshift analyses list`")
    if as_json:
        printing.say_json(vars(found))
        return
    import yaml

    printing.say(f"# digest {found.digest}")
    printing.say(yaml.safe_dump(found.document, sort_keys=False, allow_unicode=True).rstrip())


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="A YAML document.", exists=True, dir_okay=False)],
) -> None:
    """Check an analysis document and say everything that is wrong with it."""
    answer = ask(load_settings(), ["check-analysis", str(path)])
    if answer.status:
        printing.note((answer.complained or answer.said).rstrip())
        raise typer.Exit(ExitCode.PROGRAM_FAILED)
    printing.say(answer.said.rstrip() or f"{path.name} is sound.")


def known(records: Records) -> list[AnalysisSummary]:
    """Return the registered analyses; in a fresh home, register the shipped ones first."""
    from records import listing
    from records.database import reading

    def read() -> list[AnalysisSummary]:
        with reading(records.sessions) as session:
            return collect(
                lambda size, cursor: listing.analyses(session, limit=size, cursor=cursor), MOST
            )

    found = read()
    if not found:
        register_shipped(records.settings)
        found = read()
    return found
