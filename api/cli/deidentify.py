"""``nightshift deidentify`` and ``nightshift reidentify``: copies without patients, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli import printing
from api.cli.outcome import ExitCode, Problem
from api.cli.printing import AsJson

KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", help="The key of the copy; default: deidentify.key at home."),
]
OPTIONS = (
    "modified-dates, full-dates, patient-characteristics, device-identity, institution-identity, "
    "uids, safe-private, clean-descriptors, clean-structured-content, clean-graphics"
)


def deidentify(  # noqa: PLR0913 - these are the words of the command
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Folder, archive or bucket.")],
    *,
    out: Annotated[Path, typer.Option("--out", help="A new folder, or one to go on with.")],
    key_file: KeyFile = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="NAME", help=f"Repeatable; one of {OPTIONS}."),
    ] = None,
    pixel_rules: Annotated[
        Path | None,
        typer.Option("--pixel-rules", help="YAML: where which devices write on their images."),
    ] = None,
    identity_map: Annotated[
        Path | None,
        typer.Option("--map", help="Encrypted file to send results back with `reidentify`."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy SOURCE without who it is of, by DICOM PS3.15 Annex E.

    What is not on the list of safe attributes is left out. Images that may show a name in their
    pixels are left out, too, unless a pixel rule is for them. Same key: same new UIDs, names and
    dates. The same command given again goes on where an earlier one was cut off. Not a guarantee:
    look at what you give away.
    """
    _refuse_inside(source, out)
    _refuse_within(out, (identity_map, key_file))
    words = ["deidentify", source, "--out", str(out)]
    words += [word for name in option or [] for word in ("--option", name)]
    words += _paths({"--pixel-rules": pixel_rules, "--map": identity_map, "--key-file": key_file})
    said, code = _carry(words)
    if as_json:
        printing.say_json(said)
    else:
        _say_copy(said, out)
    raise typer.Exit(code)


def reidentify(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="Folder of DICOM results.")],
    *,
    identity_map: Annotated[
        Path, typer.Option("--map", help="The map that was written with the copy.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the results under their names.")],
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Give RESULTS that were made on a de-identified copy their original identifiers.

    Study, series and instance UIDs, patient, study and dates become those of the originals.
    """
    _refuse_inside(str(results), out)
    words = ["reidentify", str(results), "--out", str(out)]
    words += _paths({"--map": identity_map, "--key-file": key_file})
    said, code = _carry(words)
    if as_json:
        printing.say_json(said)
    else:
        _say_counts(said, out)
    raise typer.Exit(code)


def _paths(options: Mapping[str, Path | None]) -> list[str]:
    return [word for name, path in options.items() if path for word in (name, str(path))]


def _refuse_inside(source: str, out: Path) -> None:
    """Refuse to write into the source: the next run would copy its own copies."""
    root = Path(source).resolve()
    if root.is_dir() and root in (out.resolve(), *out.resolve().parents):
        message = f"{out} lies inside the source."
        raise Problem(message, ExitCode.USAGE)


def _refuse_within(out: Path, secrets: Sequence[Path | None]) -> None:
    """Refuse to put what undoes the copy into the folder that is given away."""
    for secret in secrets:
        if secret is not None and out.resolve() in secret.resolve().parents:
            message = f"{secret} lies inside {out}: who gets the copy would get it, too."
            raise Problem(message, ExitCode.USAGE)


def _carry(words: Sequence[str]) -> tuple[dict[str, Any], ExitCode]:
    """Run the verb in a child and show how far it is. Returns what it says, and how to end.

    Raises:
        Problem: it refused, or could not.
    """
    from api.cli.children import listen
    from api.cli.context import load_settings, operator
    from api.cli.signals import stoppable

    settings, counter = load_settings(), printing.Counter()
    try:
        with stoppable():
            answer = listen(
                settings,
                [*words, "--by", operator()],
                lambda heard: counter.show(f"{heard['files']:,} files"),
            )
    except KeyboardInterrupt as stopped:
        message = "Stopped before the end; what is copied is kept."
        raise Problem(message, mend="Run the same command again to go on.") from stopped
    counter.end()
    status = answer.status
    said = json.loads(answer.said) if answer.said else {}
    if "verdicts" not in said:
        code = ExitCode(status) if status in set(ExitCode) else ExitCode.PROGRAM_FAILED
        raise Problem(answer.sentence, code)
    if answer.complained.strip():
        printing.note(f"nightshift: {answer.sentence}")
    return said, ExitCode(status)


def _say_copy(said: Mapping[str, Any], out: Path) -> None:
    _say_counts(said, out)
    if said["kept"]:
        printing.say(f"{printing.plural(said['kept'], 'copy', 'copies')} of them were there.")
    printing.say(f"Options: {', '.join(said['options']) or 'none'}. Key {said['key']}.")
    printing.say(said["note"])
    printing.say(f"What was left out, and why: {out / 'deidentified.csv'}")


def _say_counts(said: Mapping[str, Any], out: Path) -> None:
    for verdict, count in said["verdicts"].items():
        printing.say(f"  {printing.plural(count, 'file')}: {verdict}")
    copied = printing.plural(said["verdicts"].get("ok", 0), "instance")
    printing.say(f"{copied} written to {out}.")
