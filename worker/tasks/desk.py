"""Scans and plans of batches, and upkeep."""

from __future__ import annotations

import threading
from uuid import UUID

import structlog
from celery import Celery

from worker import dispatch, rerunning, scanning, upkeep
from worker.queue import messages
from worker.services import Services
from worker.tasks.edge import edge

log = structlog.get_logger(__name__)


class Turns:
    """Lets so many scans into this process at once, and remembers whom it turned away."""

    def __init__(self, at_once: int) -> None:
        """Let ``at_once`` in."""
        self._lock = threading.Lock()
        self._free = at_once
        self._turned_away: dict[UUID, None] = {}  # in the order they came

    def take(self, batch_id: UUID) -> bool:
        """Say whether the batch may be scanned now."""
        with self._lock:
            if not self._free:
                self._turned_away[batch_id] = None
                return False
            self._free -= 1
            self._turned_away.pop(batch_id, None)
            return True

    def end(self) -> UUID | None:
        """Give a turn back; return who was turned away first and has not been told since."""
        with self._lock:
            self._free += 1
            following = next(iter(self._turned_away), None)
            if following is not None:
                del self._turned_away[following]
            return following


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


def carry_in_turn(batch_id: UUID, turns: Turns, services: Services) -> None:
    """Scan and plan one batch if there is a turn left; otherwise it is announced when one ends."""
    if not turns.take(batch_id):
        log.info("scan.turned_away")
        return
    try:
        carry_scan(batch_id, services)
    finally:
        following = turns.end()
        if following is not None:  # its wake-ups may have become as rare as one a minute
            dispatch.announce_scan(services, following)


def register(app: Celery, services: Services, *, threads: int) -> None:
    """Let ``app`` answer for scans and upkeep: scans leave it one of its ``threads``."""
    at_hand = upkeep.Upkeep(services)
    turns = Turns(threads - 1)

    @app.task(name=messages.SCAN_BATCH)
    def scan_batch(batch_id: str) -> None:
        """Scan and plan one batch."""
        with edge(messages.SCAN_BATCH, batch=batch_id):
            carry_in_turn(UUID(batch_id), turns, services)
            dispatch.dispatch_all(services)

    # one a second would bury the jobs in Flower's list
    @app.task(name=messages.UPKEEP_TICK, send_events=False)
    def tick() -> None:
        """Do what time alone brings about."""
        with edge(messages.UPKEEP_TICK):
            at_hand.tick()
