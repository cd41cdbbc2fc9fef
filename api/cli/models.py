"""``nightshift models``: which versions there are, and who makes which one active, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import gates, printing, registering, shadows, tuning
from api.cli.context import open_records, operator
from api.cli.epochs import headline
from api.cli.gates import Name, Version, Why
from api.cli.outcome import Problem
from api.cli.printing import AsJson, Column

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from records.tables import ModelVersion

app = typer.Typer(no_args_is_help=True, help="Registered models and their versions.")
app.command()(registering.register)
app.command()(registering.check)
app.command()(tuning.tune)
app.command()(gates.gate)
app.command()(gates.lineage)
app.command()(gates.recall)
app.command()(gates.rerun)
app.command()(shadows.shadow)
app.command()(shadows.shadow_report)

COLUMNS = (
    Column("Model", "name"),
    Column("Version", "version"),
    Column("Stage", "state"),
    Column("Kind", "kind"),
    Column("Digest", "short_digest"),
    Column("Metrics", "headline", folds=True),
    Column("Registered", "created_at"),
)


@app.command("list")
def list_versions(
    name: Annotated[str | None, typer.Argument(help="Only this model.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List the registered versions, newest first."""
    from records import models
    from records.database import reading

    with open_records() as records:
        registering.ensure_shipped(records)
        with reading(records.sessions) as session:
            rows = [row_of(version) for version in models.versions(session, name)]
    printing.listing(rows, COLUMNS, as_json=as_json, empty="No model is registered.")


@app.command()
def show(
    name: Name,
    version: Annotated[str | None, typer.Argument(help="Default: the active version.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show what one version states about itself: its card, its digest, where it came from."""
    from records import models
    from records.database import reading

    with open_records() as records:
        registering.ensure_shipped(records)
        with reading(records.sessions) as session, gates.refusals():
            found = models.get(session, name, version) if version else models.active(session, name)
            if found is None:
                message = f"No version of {name} is active."
                raise Problem(message, mend="`nightshift models list` shows all versions.")
            row = row_of(found) | {"metadata": found.bundle_metadata}
    if as_json:
        printing.say_json(row)
    else:
        _say_card(row)


@app.command()
def promote(
    name: Name,
    version: Version,
    *,
    why: Why,
    override: Annotated[
        bool, typer.Option("--override", help="Whatever its gate says; the audit says so.")
    ] = False,
) -> None:
    """Make a version the active one. New batches use it; jobs already planned keep theirs.

    Its gate must say `promote`, and be of the version that is active now.
    """
    from records import models

    _step(
        lambda session: models.promote(
            session, name, version, by=operator(), why=why, override=override
        )
    )


@app.command()
def rollback(name: Name, *, why: Why) -> None:
    """Make the version active that was active before."""
    from records import models

    _step(lambda session: models.rollback(session, name, by=operator(), why=why))


@app.command()
def retire(name: Name, version: Version, *, why: Why) -> None:
    """Take a version out of use. It stays readable: results point to it."""
    from records import models

    _step(lambda session: models.retire(session, name, version, by=operator(), why=why))


def row_of(version: ModelVersion) -> dict[str, Any]:
    """Return what a listing shows of a version."""
    return {
        "name": version.name,
        "version": version.version,
        "stage": version.stage.value,
        "state": version.withdrawn.value if version.withdrawn else version.stage.value,
        "withdrawn": version.withdrawn,
        "kind": version.kind,
        "digest": version.digest,
        "short_digest": version.digest[:12],
        "metrics": version.metrics,
        "headline": headline(version.metrics) or None,
        "created_at": version.created_at,
        "training": version.training_id,
        "path": version.path,
    }


def _step(change: Callable[[Session], ModelVersion]) -> None:
    """Make one change of stage in one transaction, and say what is active now."""
    from records.database import unit_of_work

    with open_records() as records:
        registering.ensure_shipped(records)
        with unit_of_work(records.sessions) as session, gates.refusals():
            changed = change(session)
            said = f"{changed.name} {changed.version} is now {changed.stage.value}."
    printing.say(said)


def _say_card(row: dict[str, Any]) -> None:
    """Print one version for a person: first what it is, then its metadata as it was registered."""
    for heading in ("name", "version", "stage", "kind", "digest", "created_at", "training", "path"):
        printing.say(f"{heading:<12}{printing.show(row[heading])}")
    if row["metrics"]:
        printing.say(f"{'metrics':<12}{printing.show(row['metrics'])}")
    printing.say()
    printing.say_json(row["metadata"])
