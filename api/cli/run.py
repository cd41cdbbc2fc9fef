"""``nightshift run``: the whole job on this machine, from a folder to a report one can open.

The batch lives in the records from its first second, so a run that was cut off, by whatever, goes
on where it stopped when the same command is given again.
"""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli import printing
from api.cli.orders import AnalysisOption, SourceArgument, require_analyses, require_source
from api.cli.outcome import ExitCode, Problem, of_batch, sentence_of
from api.cli.printing import AsJson

if TYPE_CHECKING:
    from api.cli.context import Records
    from api.cli.submitting import Order
    from worker.queue.settings import Settings


def run(
    source: SourceArgument,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for tables, report and files.")
    ] = None,
    analysis: AnalysisOption = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only say what would be analysed, and why not the rest."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Analyse SOURCE on this machine and leave results and a report in a folder.

    Starts its own workers and broker and stops them at the end. The records are those of
    NIGHTSHIFT_DATABASE_URL where it is set, else a file in the home folder. The same command
    given again goes on where an earlier one was cut off.
    """
    from api.cli.context import load_settings

    path = require_source(source)
    settings = load_settings()
    if dry_run:
        from api.cli import plan

        plan.show(settings, path, analysis or [], as_json=as_json)
        return
    if out is None:
        message = "`run` needs --out DIR for what it finds, or --dry-run."
        raise Problem(message, ExitCode.USAGE)
    with held(out, path) as folder:
        code = _run(settings, path, folder, analysis or [], as_json=as_json)
    raise typer.Exit(code)


def _run(
    settings: Settings, source: str, out: Path, analyses: list[str], *, as_json: bool
) -> ExitCode:
    """Analyse ``source``, export into ``out`` and return how the command ends."""
    from api.cli.children import require_pipeline
    from api.cli.context import open_records
    from api.cli.submitting import Order

    require_pipeline()
    _require_room(settings)
    with open_records(settings) as records:
        order = Order(source, str(out), require_analyses(records, analyses))
        return _deliver(records, _carry(records, order), out, as_json=as_json)


def _require_room(settings: Settings) -> None:
    """Refuse to begin where no worker would take a job."""
    from api.cli.checks.machine import shortage

    if sentence := shortage(settings):
        raise Problem(sentence, mend="Free some space, then run the same command again.")


def _deliver(records: Records, which: uuid.UUID, out: Path, *, as_json: bool) -> ExitCode:
    """Export what the batch left, tell how it ended and return how the command ends."""
    from api.cli import ending
    from api.cli.batches import read_detail
    from api.cli.results import export
    from records.database import DatabaseUnavailable

    try:
        export(records, which, out)
        detail = read_detail(records, which)
        ending.say(records, detail, out, as_json=as_json)
    except DatabaseUnavailable as gone:  # the same command again would analyse all anew
        mend = f"The batch has ended: `nightshift results {str(which)[:8]} --out {out}` exports it."
        raise Problem(str(gone), mend=mend) from gone
    return of_batch(detail.status.value, detail.reason, detail.jobs)


def _carry(records: Records, order: Order) -> uuid.UUID:
    """Start the services, begin or take up the batch, and stay until it has ended."""
    from api.cli import watching
    from api.cli.batches import read_snapshot
    from api.cli.signals import stoppable
    from api.cli.submitting import begin
    from worker.queue.broker import BrokerUnavailable
    from worker.queue.embedded import open_run
    from worker.queue.processes import RoleCannotStart

    started = time.monotonic()
    try:
        with stoppable(), open_run(records.settings) as services, _farewell():
            which = begin(records, order, lane=services.settings.lane)
            room = watching.Room(records.settings)

            def tend() -> None:
                services.poll()
                room.look()

            with watching.display(started) as shown:
                watching.watch(lambda: read_snapshot(records, which), shown, tend=tend)
            return which
    except KeyboardInterrupt as stopped:
        message = "Stopped before the end; what is done is kept."
        raise Problem(message, mend="Run the same command again to go on.") from stopped
    except (BrokerUnavailable, RoleCannotStart) as fault:
        raise Problem(sentence_of(fault), mend="`nightshift doctor` looks closer.") from fault


@contextmanager
def _farewell() -> Iterator[None]:
    """Answer a person's Ctrl-C at once: stopping takes a few seconds."""
    try:
        yield
    except KeyboardInterrupt:
        printing.note("Stopping; running jobs are put back ...")
        raise


@contextmanager
def held(out: Path, source: str) -> Iterator[Path]:
    """Make the folder ``out`` and hold it, so that two runs never write into the same one.

    Raises:
        Problem: it lies inside the source, cannot be written, or another run holds it.
    """
    folder = out.resolve()
    if folder == Path(source) or Path(source) in folder.parents:
        message = f"{out} lies inside the source: the next run would analyse its own results."
        raise Problem(message, ExitCode.USAGE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as refused:
        message = f"{out} cannot be written: {refused.strerror}."
        raise Problem(message) from refused
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    except BlockingIOError as taken:
        message = f"Another `nightshift run` is writing to {out}."
        raise Problem(message) from taken
    finally:
        os.close(descriptor)
