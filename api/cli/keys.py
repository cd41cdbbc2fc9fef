"""``nightshift keys``: keys of the HTTP API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import printing
from api.cli.context import open_records, operator
from api.cli.outcome import ExitCode, Problem
from api.cli.printing import AsJson, Column

if TYPE_CHECKING:
    from records.keys import KeyRow, Role

app = typer.Typer(no_args_is_help=True, help="Keys of the HTTP API.")

Name = Annotated[str, typer.Argument(help="A name for the key; the audit shows it.")]

COLUMNS = (
    Column("Name", "name"),
    Column("Roles", "roles"),
    Column("Begins with", "prefix"),
    Column("Made", "created_at"),
    Column("Revoked", "revoked_at"),
)


@app.command()
def create(
    name: Name,
    *,
    role: Annotated[
        list[str],
        typer.Option(
            "--role", help="viewer, submitter, trainer, approver, auditor or admin; repeatable."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Make a key. It is shown once: only its hash is kept."""
    from records import keys
    from records.database import unit_of_work

    roles = _roles(role)
    with open_records() as records, unit_of_work(records.sessions) as session:
        try:
            made = keys.create(session, name=name, roles=roles, by=operator())
        except (keys.KeyNameTaken, keys.RolesConflict) as refused:
            message = f"No key was made: {refused}."
            raise Problem(message, ExitCode.USAGE) from refused
    if as_json:
        printing.say_json(row_of(made.row) | {"key": made.secret})
        return
    printing.say(made.secret)
    printing.note("Keep it now; it cannot be shown again. Send it as `Authorization: Bearer KEY`.")


@app.command("list")
def list_keys(*, as_json: AsJson = False) -> None:
    """List the keys, without their secrets."""
    from records import keys
    from records.database import reading

    with open_records() as records, reading(records.sessions) as session:
        rows = [row_of(key) for key in keys.all_keys(session)]
    printing.listing(rows, COLUMNS, as_json=as_json, empty="There is no key.")


@app.command()
def revoke(name: Name) -> None:
    """End a key at once."""
    from records import keys
    from records.database import unit_of_work

    with open_records() as records, unit_of_work(records.sessions) as session:
        try:
            keys.revoke(session, name=name, by=operator())
        except keys.KeyMissing as missing:
            message = f"There is no key named {name!r}."
            raise Problem(message, ExitCode.USAGE, mend="`nightshift keys list`") from missing
    printing.say(f"The key {name} is revoked.")


def row_of(key: KeyRow) -> dict[str, Any]:
    """Return what a listing shows of a key."""
    return {
        "name": key.name,
        "roles": sorted(role.value for role in key.roles),
        "prefix": key.prefix,
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
    }


def _roles(words: list[str]) -> list[Role]:
    """Return roles; another word is wrong usage."""
    from records.keys import Role

    try:
        return [Role(word) for word in words]
    except ValueError as unknown:
        known = ", ".join(role.value for role in Role)
        message = f"{unknown}; a role is one of {known}."
        raise Problem(message, ExitCode.USAGE) from unknown
