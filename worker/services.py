"""What use cases need, made once per process and handed to them."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session, sessionmaker

from records.database import connect, session_factory
from worker.flights import Flights, Gate
from worker.queue.app import make_app
from worker.queue.settings import Settings
from worker.store import Store
from worker.warm import Models

if TYPE_CHECKING:
    from celery import Celery


@dataclass(frozen=True, kw_only=True)
class Services:
    """The settings in force, the records, the store, what is held, and the way to the broker."""

    settings: Settings
    sessions: sessionmaker[Session]
    store: Store
    flights: Flights
    gate: Gate
    models: Models
    app: Celery
    #: who holds the leases of this process, as attempts and the audit name it
    owner: str


def make_services(settings: Settings) -> Services:
    """Return the services of this process. Connects to nothing yet; do not carry across a fork."""
    return Services(
        settings=settings,
        sessions=session_factory(connect(settings.database)),
        store=Store(settings.store_path, reserve_bytes=settings.disk_reserve_bytes),
        flights=Flights(lease=settings.lease),
        gate=Gate(),
        models=Models(settings),
        app=make_app(settings),
        owner=f"{socket.gethostname()[:80]}:{os.getpid()}:{secrets.token_hex(4)}",
    )
