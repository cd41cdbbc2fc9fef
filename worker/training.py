"""One training: claim it, run it in a process of its own, register its product as a candidate.

The process can be killed without harm to this one. Its checkpoint lies in the store, so a
training goes on where it was when its process, its worker or its machine is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, NoReturn
from uuid import UUID

import structlog

from pipeline.errors import ComputeFailed, Interrupted, PipelineError, TrainingRefused
from pipeline.models import bundle
from pipeline.reasons import Reason
from records import models, trainings
from records.database import DatabaseUnavailable, unit_of_work
from records.leases import Fenced
from worker.flights import Flight, Stop
from worker.queue import tether
from worker.queue.devices import allocator
from worker.services import Services
from worker.store import NO_ROOM

log = structlog.get_logger(__name__)

#: after SIGTERM the process has this long to write its checkpoint; the last epoch's stays anyway
GRACE_SECONDS: Final = 8.0
#: rows are written at most so often while epochs are short
SECONDS_BETWEEN_NOTES: Final = 0.5
_LISTEN_SECONDS: Final = 0.2
#: exit code of a process that wrote its checkpoint because it was asked to stop
_PREEMPTED: Final = 75


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the row of a training asks for, and where its files lie."""

    training_id: UUID
    recipe: dict[str, Any] = field(repr=False)
    manifest: str = field(repr=False)
    version: str
    folder: Path
    #: an own place for each attempt: an attempt that was given up for lost may still write
    bundle: Path


@dataclass
class Heard:
    """What the process has said so far."""

    progress: dict[str, Any] = field(default_factory=dict)
    snapshot: str | None = None
    end: Mapping[str, Any] | None = None
    is_news: bool = False
    #: when the row was last written (monotonic)
    noted: float = -SECONDS_BETWEEN_NOTES

    def take(self, event: Mapping[str, Any]) -> None:
        """Take one line in."""
        said = {name: value for name, value in event.items() if name != "event"}
        match event["event"]:
            case "snapshot":
                self.snapshot = str(event["digest"])
                self.progress["cases"] = event["cases"]
            case "phase" | "epoch":
                self.progress.update(said)
            case "finished" | "refused" | "failed":
                self.end = event
        self.is_news = True


def run(training_id: UUID, services: Services) -> None:
    """Carry one training from claim to record. Nothing to do where somebody else has it."""
    claimed = _claim(training_id, services)
    if claimed is None:
        return
    flight, order = claimed
    with services.flights.hold(flight):
        try:
            _carry(order, flight, services)
        except (Fenced, DatabaseUnavailable) as error:
            # nothing may or can be recorded; the row is somebody else's, or its lease runs out
            log.warning("training.unrecorded", why=type(error).__name__)
        except (PipelineError, OSError, MemoryError) as error:
            _settle(error, order, flight, services)


def _claim(training_id: UUID, services: Services) -> tuple[Flight, Order] | None:
    length, asked = services.settings.lease, time.monotonic()
    with unit_of_work(services.sessions) as session:
        lease = trainings.claim(session, training_id, owner=services.owner, lease=length)
        if lease is None:
            return None
        flight = Flight(lease, release=trainings.release, length=length, claimed=asked)
        row = trainings.get(session, training_id)
        number = trainings.ordinal(session, training_id)
        name, major = str(row.recipe.get("name")), row.recipe.get("version", 1)
        folder = services.store.root / "trainings" / str(training_id)
        order = Order(
            training_id=training_id,
            recipe=row.recipe,
            manifest=row.manifest,
            version=models.next_version(session, name, major, at_least=number),
            folder=folder,
            bundle=folder / f"bundle-{lease.token}",
        )
    return flight, order


def _carry(order: Order, flight: Flight, services: Services) -> None:
    """Run the process to its end and record what came of it."""
    services.store.require_room()
    order.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    heard = Heard()
    with _process(order, services) as process:
        for event in _events(process, flight):
            if event is not None:
                heard.take(event)
            _note(heard, flight, services)
        code = process.wait()
    if code != 0 or heard.end is None or heard.end["event"] != "finished":
        _raise_end(code, heard)
    _record(order, heard, flight, services)
    shutil.rmtree(order.folder, ignore_errors=True)


@contextmanager
def _process(order: Order, services: Services) -> Iterator[subprocess.Popen[bytes]]:
    """Start the process in a group of its own; whatever happens, it is gone at the end."""
    document = {
        "recipe": order.recipe,
        "manifest": order.manifest,
        "folder": str(order.folder),
        "bundle": str(order.bundle),
        "version": order.version,
        "device": services.settings.device,
        "threads": services.settings.threads,
        "deidentify_key": str(services.settings.deidentify_key_path),
    }
    paper = order.folder / "order.json"
    paper.write_text(json.dumps(document))
    command = [sys.executable, "-m", "pipeline.training", str(paper)]
    tied = [sys.executable, "-I", "-S", str(tether.__file__), str(os.getpid()), *command]
    with (order.folder / "errors.log").open("wb") as errors:
        process = subprocess.Popen(
            tied,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            env={**os.environ, **allocator()},
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask for a checkpoint, wait a little, then kill the group."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            log.warning("training.killed")
    with contextlib.suppress(ProcessLookupError):  # the whole group has gone
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _events(process: subprocess.Popen[bytes], flight: Flight) -> Iterator[dict[str, Any] | None]:
    """Yield what the process says, and None now and then, until it says no more.

    Raises:
        Interrupted: the lease was lost, the training canceled, or this worker shuts down.

    """
    if process.stdout is None:
        message = "the process was started without a pipe"
        raise ValueError(message)
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    threading.Thread(
        target=_listen, args=(process.stdout, lines), name="training-progress", daemon=True
    ).start()
    while True:
        flight.checkpoint()
        try:
            line = lines.get(timeout=_LISTEN_SECONDS)
        except queue.Empty:
            yield None
            continue
        if line is None:
            return
        event = _parse(line)
        if event is not None:
            yield event


def _listen(pipe: IO[bytes], lines: queue.SimpleQueue[bytes | None]) -> None:
    with contextlib.suppress(ValueError):  # closed under us: the training was stopped
        for line in pipe:
            lines.put(line)
    lines.put(None)


def _parse(line: bytes) -> dict[str, Any] | None:
    """Return an event; what libraries print between is none."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def _note(heard: Heard, flight: Flight, services: Services) -> None:
    """Keep the news in the row, not more often than anybody could read it."""
    at = time.monotonic()
    if not heard.is_news or (heard.end is None and at < heard.noted + SECONDS_BETWEEN_NOTES):
        return
    heard.noted, heard.is_news = at, False
    with unit_of_work(services.sessions) as session:
        trainings.note_progress(
            session, flight.lease, dict(heard.progress), snapshot_digest=heard.snapshot
        )


def _raise_end(code: int, heard: Heard) -> NoReturn:
    """Say why the process ended without a bundle."""
    end = heard.end
    if end is not None and end["event"] == "refused":
        raise TrainingRefused(str(end["detail"]), Reason(end["reason"]))
    if end is not None and end["event"] == "failed":
        raise ComputeFailed(str(end["detail"]), Reason(end["reason"]))
    if code == _PREEMPTED:
        raise Interrupted("the training process was asked to stop by somebody else")
    how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    sentence = f"the training process ended {how}; see errors.log in its folder of the store"
    raise ComputeFailed(sentence, Reason.RUN_ERROR)


def _record(order: Order, heard: Heard, flight: Flight, services: Services) -> None:
    """Put the bundle into the store; then, in one transaction, register it and end the training.

    Raises:
        Fenced: the training is no longer ours; the bundle in the store is nobody's.
        ComputeFailed: the version was taken meanwhile; the next attempt takes another one.

    """
    made = bundle.load(order.bundle)
    kept = services.store.put_bundle(made.folder, made.digest)
    metrics = dict(heard.end["metrics"]) if heard.end else {}
    new = models.NewModelVersion(
        name=made.spec.name,
        version=made.spec.version,
        digest=made.digest,
        kind=str(made.spec.kind),
        path=str(kept),
        bundle_metadata=json.loads((kept / bundle.METADATA).read_text(encoding="utf-8")),
        metrics=metrics,
        training_id=order.training_id,
    )
    model = f"{new.name}@{new.version}"
    try:
        with unit_of_work(services.sessions) as session:
            models.register(session, new, by=flight.lease.owner)
            trainings.succeed(
                session,
                flight.lease,
                metrics=metrics,
                snapshot_digest=heard.snapshot or "",
                model=model,
            )
    except models.VersionTaken as taken:
        raise ComputeFailed(str(taken), Reason.RUN_ERROR) from taken
    log.info("training.succeeded", model=model, digest=made.digest)


def _settle(
    error: PipelineError | OSError | MemoryError, order: Order, flight: Flight, services: Services
) -> None:
    """Record the end of an attempt that raised ``error``."""
    if flight.stop is Stop.LOST:
        log.warning("training.fenced")
        return
    reason, detail = _because(error)
    log.warning("training.ended", reason=reason, why=detail, exc_info=error)
    try:
        with unit_of_work(services.sessions) as session:
            match error:
                case Interrupted() if flight.stop is Stop.CANCELED:
                    trainings.finish_canceled(session, flight.lease)
                case Interrupted():
                    trainings.release(session, flight.lease)
                case TrainingRefused():
                    trainings.reject(session, flight.lease, reason=reason, detail=detail)
                case _:
                    trainings.fail(session, flight.lease, reason=reason, detail=detail, retry=True)
    except (Fenced, DatabaseUnavailable) as unrecorded:
        log.warning("training.unrecorded", why=type(unrecorded).__name__)
        return
    if isinstance(error, TrainingRefused) or flight.stop is Stop.CANCELED:
        shutil.rmtree(order.folder, ignore_errors=True)


def _because(error: PipelineError | OSError | MemoryError) -> tuple[Reason, str]:
    """Return reason and sentence; the messages of libraries may hold paths and are not used."""
    match error:
        case PipelineError():
            return error.reason, error.sentence
        case MemoryError():
            return Reason.RUN_OUT_OF_MEMORY, "memory was used up"
        case _ if error.errno in NO_ROOM:
            return Reason.RUN_DISK_FULL, "the disk of the store is full"
        case _:
            return Reason.RUN_ERROR, f"unexpected {type(error).__name__}"
