"""Scans and plans of batches, and upkeep."""

from __future__ import annotations

from uuid import UUID

from celery import Celery

from worker import dispatch, rerunning, scanning, upkeep
from worker.queue import messages
from worker.services import Services
from worker.tasks.edge import edge


def carry_scan(batch_id: UUID, services: Services) -> None:
    """Scan and plan one batch, or plan a rerun. Nothing to do where somebody else has it."""
    flight = scanning.claim(batch_id, services)
    if flight is None:
        return
    with services.flights.hold(flight):
        try:
            again = rerunning.asked(flight, services)
            if again is None:
                scanning.carry(flight, services)
            else:
                rerunning.carry(again, flight, services)
        except Exception as error:  # noqa: BLE001 - the task edge: every end is recorded
            scanning.settle(error, flight, services)


def register(app: Celery, services: Services) -> None:
    """Let ``app`` answer for scans and upkeep."""
    at_hand = upkeep.Upkeep(services)

    @app.task(name=messages.SCAN_BATCH)
    def scan_batch(batch_id: str) -> None:
        """Scan and plan one batch."""
        with edge(messages.SCAN_BATCH, batch=batch_id):
            carry_scan(UUID(batch_id), services)
            dispatch.dispatch_all(services)

    # one a second would bury the jobs in Flower's list
    @app.task(name=messages.UPKEEP_TICK, send_events=False)
    def tick() -> None:
        """Do what time alone brings about."""
        with edge(messages.UPKEEP_TICK):
            at_hand.tick()
