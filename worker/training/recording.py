"""The end of a training, in one transaction: its product registered, or why there is none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import structlog

from pipeline.errors import NO_ROOM, ComputeFailed, Interrupted, PipelineError, TrainingRefused
from pipeline.models import bundle
from pipeline.reasons import Reason
from records import models, trainings
from records.database import DatabaseUnavailable, unit_of_work
from records.leases import Fenced
from worker import gating
from worker.flights import Flight, Stop
from worker.services import Services
from worker.training.order import Order

log = structlog.get_logger(__name__)

#: what may end an attempt
Fault: TypeAlias = PipelineError | OSError | MemoryError


def record(
    order: Order, finished: Mapping[str, Any], snapshot: str, flight: Flight, services: Services
) -> None:
    """Put the bundle into the store; then, in one transaction, register it and end the training.

    Raises:
        Fenced: the training is no longer ours; the bundle in the store is nobody's.
        ComputeFailed: the version was taken meanwhile; the next attempt takes another one.

    """
    made = bundle.load(order.bundle)
    kept = services.store.put_bundle(made.folder, made.digest)
    gate = gating.keep(Path(order.gate.folder), services.store)
    metrics = dict(finished["metrics"])
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
            version = models.register(session, new, by=flight.lease.owner)
            gating.record(session, gate, version, by=flight.lease.owner)
            trainings.succeed(
                session, flight.lease, metrics=metrics, snapshot_digest=snapshot, model=model
            )
    except models.VersionTaken as taken:
        raise ComputeFailed(str(taken), Reason.RUN_ERROR) from taken
    log.info("training.succeeded", model=model, digest=made.digest)


def settle(error: Fault, order: Order, flight: Flight, services: Services) -> None:
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
                case Interrupted():  # a shutdown, or a pause
                    trainings.release(session, flight.lease)
                case _ if reason is Reason.RUN_DISK_FULL:
                    trainings.postpone(session, flight.lease, reason=reason, detail=detail)
                case TrainingRefused():
                    trainings.reject(session, flight.lease, reason=reason, detail=detail)
                case _:
                    trainings.fail(session, flight.lease, reason=reason, detail=detail, retry=True)
    except (Fenced, DatabaseUnavailable) as unrecorded:
        log.warning("training.unrecorded", why=type(unrecorded).__name__)
        return
    if isinstance(error, TrainingRefused) or flight.stop is Stop.CANCELED:
        shutil.rmtree(order.folder, ignore_errors=True)


def _because(error: Fault) -> tuple[Reason, str]:
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
