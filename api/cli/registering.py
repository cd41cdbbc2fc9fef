"""``nightshift models register`` and ``check``: a bundle becomes a version, or is told why not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import printing
from api.cli.outcome import ExitCode, Problem
from api.cli.printing import AsJson

if TYPE_CHECKING:
    from api.cli.context import Records

Bundle = Annotated[Path, typer.Argument(metavar="PATH", help="A folder or a ZIP, MONAI's layout.")]
Name = Annotated[str | None, typer.Option("--name", help="Name; default: of the metadata.")]
Title = Annotated[str | None, typer.Option("--title", help="Title in reports.")]
Kind = Annotated[
    str | None,
    typer.Option("--kind", help="segmentation, classification, detection or restoration."),
]
Modality = Annotated[
    list[str] | None,
    typer.Option("--modality", metavar="CODE", help="DICOM modality it takes; repeatable."),
]
Label = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="NAME", help="Label, in channel order; repeatable."),
]
Activation = Annotated[
    str | None,
    typer.Option("--activation", help="softmax, sigmoid or none, if the configuration has none."),
]


def register(  # noqa: PLR0913 - these are the words of the command
    path: Bundle,
    *,
    name: Name = None,
    title: Title = None,
    kind: Kind = None,
    modality: Modality = None,
    label: Label = None,
    activation: Activation = None,
    promote: Annotated[bool, typer.Option("--promote", help="Make it the active version.")] = False,
    why: Annotated[str | None, typer.Option("--why", help="The reason, for the audit.")] = None,
    as_json: AsJson = False,
) -> None:
    """Register a bundle as a candidate. No code in it runs; the options state what it leaves open.

    The same bytes again change nothing. Other bytes never take a name and version that are there.
    """
    if promote != (why is not None):
        message = "--promote and --why go together."
        raise Problem(message, ExitCode.USAGE)
    from api.cli.context import open_records, operator

    with open_records() as records:
        ensure_shipped(records)
    words = ["register-model", str(path), "--by", operator()]
    words += [] if why is None else ["--promote", why]
    said = _asked([*words, *_stated(name, title, kind, activation)], modality, label)
    _end(said, as_json=as_json, well=f"{said.get('name')} {said.get('version')} is registered")


def check(  # noqa: PLR0913 - these are the words of the command
    path: Bundle,
    *,
    name: Name = None,
    title: Title = None,
    kind: Kind = None,
    modality: Modality = None,
    label: Label = None,
    activation: Activation = None,
    as_json: AsJson = False,
) -> None:
    """Say what a bundle would become, or all that would be refused, and why. Registers nothing."""
    words = ["check-model", str(path), *_stated(name, title, kind, activation)]
    said = _asked(words, modality, label)
    _end(said, as_json=as_json, well=f"{said.get('name')} {said.get('version')} can be registered")


def ensure_shipped(records: Records) -> None:
    """Register what ships with Nightshift in a home in which no worker has run yet."""
    from api.cli.children import register_shipped
    from records import models
    from records.database import reading

    with reading(records.sessions) as session:
        is_fresh = not models.versions(session)
    if is_fresh:
        register_shipped(records.settings)


def _stated(
    name: str | None, title: str | None, kind: str | None, activation: str | None
) -> list[str]:
    given = {"--name": name, "--title": title, "--kind": kind, "--activation": activation}
    return [f"{option}={value}" for option, value in given.items() if value is not None]


def _asked(
    words: Sequence[str], modalities: list[str] | None, labels: list[str] | None
) -> dict[str, Any]:
    """Ask a child and return what it says; both what the bundle is and what is wrong are answers.

    Raises:
        Problem: it could not be asked, or gave no answer.
    """
    from api.cli.children import ask
    from api.cli.context import load_settings

    many = [f"--modality={code}" for code in modalities or []]
    many += [f"--label={label}" for label in labels or []]
    answer = ask(load_settings(), [*words, *many])
    if not answer.said:
        is_usage = answer.status == ExitCode.USAGE
        raise Problem(answer.sentence, ExitCode.USAGE if is_usage else ExitCode.PROGRAM_FAILED)
    said: dict[str, Any] = json.loads(answer.said)
    return said


def _end(said: dict[str, Any], *, as_json: bool, well: str) -> None:
    """Print an answer and end as it asks."""
    faults: list[str] = said.get("faults", [])
    if as_json:
        printing.say_json(said)
    elif faults:
        printing.say(f"Refused, {printing.plural(len(faults), 'fault')}:")
        for fault in faults:
            printing.say(f"  - {fault}")
    else:
        _say_version(said, well)
    if faults:
        raise typer.Exit(ExitCode.PROGRAM_FAILED)


def _say_version(said: dict[str, Any], well: str) -> None:
    stage = f" as {said['stage']}" if "stage" in said else ""
    printing.say(f"{well}{stage}.")
    for heading in ("kind", "title", "modalities", "labels", "digest"):
        printing.say(f"  {heading:<12}{printing.show(said[heading])}")
    if said["left_out"]:
        printing.say(f"Left out, {printing.plural(len(said['left_out']), 'file')}:")
    for name, sentence in said["left_out"].items():
        printing.say(f"  - {name} {sentence}")
