"""``nightshift analyses``: which there are, what one says, whether a new one is sound."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli import printing
from api.cli.children import ask, register_shipped
from api.cli.context import load_settings, open_records, operator
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


@app.command()
def schema() -> None:
    """Print the JSON schema of an analysis document, for editors."""
    answer = ask(load_settings(), ["analysis-schema"])
    if answer.status:
        message = f"The schema could not be made: {answer.last_complaint}"
        raise Problem(message)
    printing.say(answer.said.rstrip())


@app.command()
def register(
    path: Annotated[Path, typer.Argument(help="A YAML document.", exists=True, dir_okay=False)],
) -> None:
    """Register an analysis of your own. Its name and version then stand for this document."""
    with open_records() as records:
        printing.say(register_document(records, str(path)))


def register_document(records: Records, path: str) -> str:
    """Register a document and return how to name it from then on.

    Raises:
        Problem: it is not valid, or its name and version stand for another document.
    """
    answer = ask(records.settings, ["register-analysis", path, "--by", operator()])
    if answer.status:
        message = f"{path} is refused: {(answer.complained or answer.said).strip()}"
        raise Problem(message, ExitCode.USAGE, mend=f"nightshift analyses check {path}")
    return answer.said.strip()


def known(records: Records, wanted: Sequence[str] = ()) -> list[AnalysisSummary]:
    """Return the registered analyses.

    Where there are none yet, or not all that are wanted, the shipped ones are registered first:
    the home is fresh, or older than this version of the program.
    """
    from records import listing
    from records.database import reading

    def read() -> list[AnalysisSummary]:
        with reading(records.sessions) as session:
            return collect(
                lambda size, cursor: listing.analyses(session, limit=size, cursor=cursor), MOST
            )

    found = read()
    names = {each.name for each in found}
    if not found or any(name.partition("@")[0] not in names for name in wanted):
        register_shipped(records.settings)
        found = read()
    return found
