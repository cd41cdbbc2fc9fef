"""What every route may ask for, held once per app."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Query, Request
from sqlalchemy.orm import Session, sessionmaker

from api.http.metrics import HttpMetrics
from records.listing import MAX_PAGE, Stats
from worker.queue.settings import Settings


class Seldom:
    """Says yes at most once per key and minute, so that refusals cannot flood the audit trail."""

    def __init__(self, seconds: float = 60.0, most: int = 1024) -> None:
        self._seconds = seconds
        self._most = most
        self._last: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self, key: str) -> bool:
        """Say whether ``key`` was not seen for a while."""
        at = time.monotonic()
        with self._lock:
            if at - self._last.get(key, -self._seconds) < self._seconds:
                return False
            if len(self._last) >= self._most:
                self._last.clear()
            self._last[key] = at
            return True


class Streams:
    """How many event streams are open."""

    def __init__(self) -> None:
        self._open = 0

    def full(self, most: int) -> bool:
        """Say whether ``most`` are open."""
        return self._open >= most

    def __enter__(self) -> None:
        """Count one more. Called in the event loop only, so no lock is needed."""
        self._open += 1

    def __exit__(self, *_: object) -> None:
        """Count one less."""
        self._open -= 1


@dataclass(frozen=True, kw_only=True)
class Services:
    """Settings, the database and what is counted. ``stopping`` ends the event streams."""

    settings: Settings
    sessions: sessionmaker[Session]
    metrics: HttpMetrics
    stats: Callable[[], Stats]
    stopping: threading.Event = field(default_factory=threading.Event)
    seldom: Seldom = field(default_factory=Seldom)
    streams: Streams = field(default_factory=Streams)


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


Held = Annotated[Services, Depends(_services)]

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="rows on a page")]
Cursor = Annotated[
    str | None, Query(max_length=1024, description="`next` of the page before; same filters")
]
