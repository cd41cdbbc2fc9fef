"""``nightshift manifests``: lists of training cases, made of public sets and looked through."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli import printing
from api.cli.children import ask, listen
from api.cli.context import load_settings
from api.cli.outcome import ExitCode, Problem
from api.cli.printing import AsJson
from api.cli.recipes import manifest_path, recipe_path

app = typer.Typer(no_args_is_help=True, help="Manifests: the cases that trainings learn from.")


class Layout(enum.StrEnum):
    """How a set stores its labels."""

    CLASSES = "classes"
    MASKS = "masks"
    VOC = "voc"
    COCO = "coco"
    MEDMNIST = "medmnist"


@app.command()
def make(
    folder: Annotated[Path, typer.Argument(help="Of the set.", exists=True, file_okay=False)],
    *,
    layout: Annotated[
        Layout,
        typer.Option(
            "--layout",
            help="CLASS/IMAGE; images/ and labels/ of masks; Pascal VOC; COCO; MedMNIST's .npz.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The CSV file to write.")],
    alike: Annotated[
        float | None,
        typer.Option(
            "--alike",
            min=0.0,
            max=1.0,
            help="Images that correlate by more are taken for one patient; 1: none. "
            "Default: 0.97, and 1 where the set states a split.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the manifest of a folder with images and labels. Images stay where they are."""
    words = ["make-manifest", str(folder), "--layout", layout.value, "--out", str(out)]
    words += [] if alike is None else ["--alike", str(alike)]
    answer = ask(load_settings(), words)
    if answer.status:
        message = f"No manifest was made of {folder}: {answer.sentence}"
        raise Problem(message, ExitCode.USAGE)
    said = json.loads(answer.said)
    if as_json:
        printing.say_json(said)
        return
    printing.say(f"{out}: {said['cases']} cases, {said['patients']} patients or groups of images")


@app.command()
def check(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped model.")],
    *,
    manifest: Annotated[Path, typer.Option("--manifest", help="The list of training cases.")],
    as_json: AsJson = False,
) -> None:
    """Read a manifest and every file in it, and list all that a training would refuse, by row.

    Cases that were read are kept for the training, which does not read them again.
    """
    words = ["check-manifest", str(recipe_path(recipe)), "--manifest", manifest_path(manifest)]
    counter = printing.Counter()
    answer = listen(
        load_settings(),
        words,
        lambda told: counter.show(f"{told['read']:,} of {told['of']:,} cases"),
    )
    counter.end()
    report = json.loads(answer.said) if answer.said else {}
    if "faults" not in report:
        message = f"The manifest was not checked: {answer.sentence}"
        raise Problem(message, ExitCode.USAGE)
    if as_json:
        printing.say_json(report)
    else:
        _say(report)
    if report["faults"]:
        raise typer.Exit(ExitCode.PROGRAM_FAILED)


def _say(report: dict[str, Any]) -> None:
    """Print the faults, then the warnings, then what it comes to."""
    for found in report["faults"]:
        printing.say(_line(found))
    for found in report["warnings"]:
        printing.say(f"warning: {_line(found)}")
    cases = ", ".join(f"{count} {part}" for part, count in report["cases"].items())
    if report["faults"]:
        printing.say(f"{len(report['faults'])} faults. A training would refuse this manifest.")
    else:
        printing.say(f"The manifest is sound: {cases}. Snapshot {report['digest'][:12]}.")


def _line(found: dict[str, Any]) -> str:
    place = f"row {found['row']}" if found["row"] else "manifest"
    return f"{place}, {found['column']}: {found['sentence']}"
