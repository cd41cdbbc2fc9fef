"""The way of one training: claim, run its process, record what came of it."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from pipeline.errors import PipelineError
from records import models, trainings
from records.corrections import UpTo
from records.database import DatabaseUnavailable, unit_of_work
from records.leases import Fenced
from records.tables import Training
from worker import gating, sharing
from worker.flights import Flight
from worker.services import Services
from worker.store import TRAININGS, DiskFull, Store
from worker.training import cases, hearing, process, recording
from worker.training.hearing import Heard
from worker.training.order import Order

log = structlog.get_logger(__name__)

#: between two looks at the room that is left on the disk of the store
SECONDS_BETWEEN_LOOKS: Final = 5.0


class Watermark:
    """Looks after the room on the disk of the store while a training writes there."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._looked = time.monotonic()

    def check(self) -> None:
        """Look now and then.

        Raises:
            DiskFull: the reserve is touched; the training lets go and waits with its checkpoint.

        """
        at = time.monotonic()
        if at >= self._looked + SECONDS_BETWEEN_LOOKS:
            self._looked = at
            self._store.require_room()


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
            recording.settle(error, order, flight, services)


def _claim(training_id: UUID, services: Services) -> tuple[Flight, Order] | None:
    """Take the training. None: somebody has it, it ended, or this machine must not take work."""
    if services.flights.is_closing:
        return None
    try:
        services.store.require_room()
    except DiskFull as full:
        log.warning("training.not_claimed", why=full.sentence)
        return None
    length, asked = services.settings.lease, time.monotonic()
    with unit_of_work(services.sessions) as session:
        lease = trainings.claim(session, training_id, owner=services.owner, lease=length)
        if lease is None:
            return None
        flight = Flight(lease, release=trainings.release, length=length, claimed=asked)
        row = trainings.get(session, training_id)
        number = trainings.ordinal(session, training_id)
        name, major = str(row.recipe.get("name")), row.recipe.get("version", 1)
        folder = services.store.root / TRAININGS / str(training_id)
        order = Order(
            training_id=training_id,
            recipe=row.recipe,
            manifest=row.manifest,
            weights=Path(row.manifest).parent,
            corrections=_corrections(row),
            version=models.next_version(session, name, major, at_least=number),
            folder=folder,
            bundle=folder / f"bundle-{lease.token}",
            gate=gating.order_of(
                session, row.recipe, folder / f"gate-{lease.token}", services.store
            ),
        )
    return flight, order


def _corrections(row: Training) -> UpTo | None:
    if row.corrections_of is None or row.corrections_up_to is None:
        return None
    return UpTo(analysis=row.corrections_of, number=row.corrections_up_to)


def _carry(order: Order, flight: Flight, services: Services) -> None:
    """Run the process to its end and record what came of it."""
    order.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    order = replace(order, manifest=cases.manifest_of(order, services))
    heard, room = Heard(), Watermark(services.store)
    with sharing.training_on(services.settings), process.started(order, services) as running:
        for event in process.events(running):
            flight.checkpoint()
            room.check()
            if event is not None:
                heard.take(event)
            hearing.note(heard, flight, services)
        code = running.wait()
    finished = heard.require_product(code)
    recording.record(order, finished, heard.snapshot or "", flight, services)
    shutil.rmtree(order.folder, ignore_errors=True)
