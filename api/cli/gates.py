"""``nightshift models gate``, ``lineage``, ``recall`` and ``rerun``."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.cli import printing
from api.cli.context import open_records, operator
from api.cli.outcome import ExitCode, Problem, sentence_of
from api.cli.printing import AsJson, Column, plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from records.listing import GateRow
    from records.recalls import Recalled
    from worker.queue.settings import Settings

Name = Annotated[str, typer.Argument(help="Name of the model.", show_default=False)]
Version = Annotated[str, typer.Argument(help="Version, as `models list` shows it.")]
Why = Annotated[str, typer.Option("--why", help="The reason, for the audit.", show_default=False)]

JOBS = (
    Column("Job", "job"),
    Column("Study", "study"),
    Column("Analysis", "analysis"),
    Column("Status", "status"),
    Column("Standing", "standing"),
)


def gate(
    name: Name,
    version: Version,
    *,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compute it again from what was kept.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="First hold it against what is active now.")
    ] = False,
    page: Annotated[
        Path | None, typer.Option("--page", help="Write the page to look at into this file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what the gate said when this version was held against the active one, and why."""
    from records import listing
    from records.database import reading

    with open_records() as records:
        if again:
            _decide_again(records.settings, name, version)
        with reading(records.sessions) as session, refusals():
            found = listing.gates(session, name, version)
        if not found:
            message = f"{name} {version} was not held against the active version."
            raise Problem(
                message, mend="Gates are decided at the end of a training; `--again` decides one."
            )
        if page is not None:
            _write_page(records.settings.store_path, found[0].page, page)
    if verify:
        _verify(name, version)
    if as_json:
        printing.say_json([vars(one) for one in found])
    elif page is not None:
        printing.say(str(page))
    else:
        _say(found[0])


def lineage(name: Name, version: Version, *, jobs: bool = False, as_json: AsJson = False) -> None:
    """Show what a version was trained on, and how what it said stands; with --jobs each job."""
    from records import lineage as kept
    from records import listing, models
    from records.database import reading

    with open_records() as records, reading(records.sessions) as session, refusals():
        found = vars(listing.lineage_of(session, name, version))
        row = models.get(session, name, version)
        uses = [vars(one) for one in kept.uses(session, row)] if jobs else []
    if jobs:
        printing.listing(uses, JOBS, as_json=as_json, empty="No job ran with this version.")
    elif as_json:
        printing.say_json(found | {"snapshot": found["snapshot"] and vars(found["snapshot"])})
    else:
        for heading, value in found.items():
            shown = vars(value) if heading == "snapshot" and value else value
            printing.say(f"{heading:<14}{printing.show(shown)}")


def recall(name: Name, version: Version, *, why: Why, as_json: AsJson = False) -> None:
    """Take back a version and everything it said; where it was active, the one before is again.

    Jobs that wait run the active version instead; where none is active they are canceled.
    """
    from records import recalls
    from records.database import unit_of_work

    with open_records() as records, unit_of_work(records.sessions) as session, refusals():
        done = recalls.recall(session, name, version, by=operator(), why=why)
    if as_json:
        printing.say_json(vars(done))
    else:
        _say_recalled(name, version, done)


def rerun(name: Name, version: Version, *, as_json: AsJson = False) -> None:
    """Queue just the studies of a version again, with the versions that are active now."""
    from records import reruns
    from records.database import unit_of_work

    with open_records() as records, unit_of_work(records.sessions) as session, refusals():
        made = reruns.rerun(session, name, version, by=operator(), lane=records.settings.lane)
    if as_json:
        printing.say_json({"batches": made})
    elif made:
        printing.say("Queued as " + ", ".join(str(one)[:8] for one in made) + ".")
    else:
        printing.say("No study was analysed with this version.")


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what the records refuse into a sentence."""
    from records.gates import GateRefused
    from records.models import ModelVersionMissing, StageRefused

    try:
        yield
    except GateRefused as refused:
        mend = "`nightshift models gate` says more; --override promotes all the same."
        raise Problem(sentence_of(refused), mend=mend) from refused
    except (ModelVersionMissing, StageRefused) as refused:
        raise Problem(
            sentence_of(refused), mend="`nightshift models list` shows every version."
        ) from refused


def _decide_again(settings: Settings, name: str, version: str) -> None:
    """Let the pipeline decide a new gate, which is the one that counts.

    Raises:
        Problem: it cannot be decided.

    """
    from api.cli.children import ask

    answer = ask(settings, ["gate-again", "--by", operator(), name, version])
    if answer.status:
        message = f"No gate of {name} {version} was decided: {answer.sentence}"
        raise Problem(message, ExitCode.PROGRAM_FAILED)


def _verify(name: str, version: str) -> None:
    """Let the pipeline compute the gate again.

    Raises:
        Problem: it comes out otherwise, or cannot be computed.

    """
    from api.cli.children import ask
    from api.cli.context import load_settings

    answer = ask(load_settings(), ["verify-gate", name, version])
    if answer.status and not answer.said:
        raise Problem(answer.sentence, ExitCode.PROGRAM_FAILED)
    if not json.loads(answer.said)["is_same"]:
        message = f"The gate of {name} {version} comes out otherwise than it was stored."
        raise Problem(message, ExitCode.PROGRAM_FAILED)
    printing.note("Computed again from the stored scores: the same.")


def _write_page(store: Path, sha256: str, target: Path) -> None:
    try:
        target.write_bytes((store / "blobs" / sha256[:2] / sha256).read_bytes())
    except OSError as fault:
        raise Problem(f"The page cannot be written: {fault.strerror}.") from fault


def _say_recalled(name: str, version: str, done: Recalled) -> None:
    """Print what a recall did, and what is left to do."""
    now = "none is active" if done.active is None else f"{done.active} is active"
    printing.say(f"{name} {version} is recalled with all its results; {now}.")
    if done.rebound:
        waited = plural(done.rebound, "job")
        printing.say(f"Waiting for {done.active} now instead of it: {waited}.")
    if done.canceled:
        canceled = plural(done.canceled, "job")
        printing.say(f"Canceled, because none is: {canceled}. `nightshift retry` runs them later.")
    if done.running:
        running = plural(done.running, "job")
        printing.say(f"Running with it still: {running}. Wait for their end before the rerun.")
    printing.say(f"`nightshift models rerun {name} {version}` analyses its studies again.")


def _say(row: GateRow) -> None:
    """Print one gate for a person: the decision, then each condition."""
    against = "no active version" if row.against is None else row.against
    printing.say(f"{row.model} {row.version} against {against}: {row.decision}")
    findings: list[dict[str, Any]] = row.statement["verdict"]["findings"]
    words = {True: "holds", False: "fails", None: "unknown"}
    for finding in findings:
        printing.say(f"  {words[finding['holds']]:<9}{finding['sentence']}")
