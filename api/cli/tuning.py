"""``nightshift models tune``: measure how a model runs fastest on this machine, and keep it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from api.cli import printing
from api.cli.outcome import ExitCode, Problem
from api.cli.printing import AsJson, Column

COLUMNS = (
    Column("Engine", "engine"),
    Column("Format", "dtype"),
    Column("Layout", "layout"),
    Column("Windows", "batch"),
    Column("Threads", "threads"),
    Column("ms a window", "milliseconds"),
    Column("Best before", "rival_milliseconds"),
    Column("Labels equal", "agreement"),
    Column("", "verdict"),
)


def tune(
    name: Annotated[str, typer.Argument(help="Name of the model.", show_default=False)],
    version: Annotated[str | None, typer.Argument(help="Default: the active version.")] = None,
    *,
    seconds: Annotated[
        float, typer.Option(min=1, max=3600, help="After so long no candidate is begun.")
    ] = 60,
    as_json: AsJson = False,
) -> None:
    """Measure how a model runs fastest on this machine; its workers follow from their next load.

    Number format, memory layout, windows at once, engine and threads are tried on the model's own
    windows, each held against float32. Best on a machine that does nothing else.
    """
    from api.cli.children import ask
    from api.cli.context import load_settings
    from worker.queue.devices import inference_environments

    settings, path = load_settings(), _path(name, version)
    if not as_json:
        printing.say(f"Measuring {name}, for about {seconds:.0f} s ...")
    words = ["tune-model", path, f"--seconds={seconds}"]
    # as a worker runs: the same threads and the same allocator
    answer = ask(settings, words, inference_environments(settings)[0])
    if answer.status:
        raise Problem(answer.sentence, ExitCode.PROGRAM_FAILED)
    said = json.loads(answer.said)
    if as_json:
        printing.say_json(said)
        return
    rows = [_row(trial, said["choice"]) for trial in said["trials"]]
    printing.listing(rows, COLUMNS, as_json=False, empty="Nothing was tried.")


def _path(name: str, version: str | None) -> str:
    """Return the folder of a registered version.

    Raises:
        Problem: it is not registered, or none is active.
    """
    from api.cli.context import open_records
    from api.cli.registering import ensure_shipped
    from records import models
    from records.database import reading

    with open_records() as records:
        ensure_shipped(records)
        with reading(records.sessions) as session:
            found = models.find(session, name, version) if version else models.active(session, name)
            if found is None:
                wanted = f"version {version} of {name} is registered"
                message = f"No {wanted}." if version else f"No version of {name} is active."
                raise Problem(message, mend="`nightshift models list` shows every version.")
            return found.path


def _row(trial: dict[str, Any], chosen: dict[str, Any]) -> dict[str, Any]:
    """Return what the table shows of a candidate."""
    is_chosen = trial["choice"] == chosen
    return {
        **trial["choice"],
        "milliseconds": _milliseconds(trial["seconds"]),
        "rival_milliseconds": _milliseconds(trial["rival"]),
        "agreement": None if trial["agreement"] is None else f"{trial['agreement']:.4%}",
        "verdict": "chosen" if is_chosen else trial["refused"] or None,
    }


def _milliseconds(seconds: float | None) -> str | None:
    return None if seconds is None else f"{seconds * 1e3:.1f}"
