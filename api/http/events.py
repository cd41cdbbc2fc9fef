"""Server-sent events: how a batch goes, until it ends."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any, Final

import orjson
from fastapi.sse import format_sse_event
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from api.http.problems import Kind, Problem
from api.http.services import Services
from records.database import DatabaseUnavailable, reading
from records.listing import Progress, progress

#: between two looks at the database
LOOK_S: Final = 1.0
#: proxies close what is silent for about half a minute
HEARTBEAT_S: Final = 15.0
#: each open stream costs one small query a second
MOST_STREAMS: Final = 64
_RECONNECT_MS: Final = 2000
_NAP_S: Final = 0.1


def stream(services: Services, batch_id: uuid.UUID) -> Response:
    """Return the event stream of a batch.

    Raises:
        Problem: too many streams are open already (503).

    """
    if services.streams.full(MOST_STREAMS):
        raise Problem(Kind.TOO_MANY_STREAMS, headers={"Retry-After": "10"})
    headers = {"X-Accel-Buffering": "no"}  # nginx would hold events back
    return StreamingResponse(_counted(services, batch_id), 200, headers, "text/event-stream")


async def _counted(services: Services, batch_id: uuid.UUID) -> AsyncIterator[bytes]:
    with services.streams:
        async for event in _events(services, batch_id):
            yield event


async def _events(services: Services, batch_id: uuid.UUID) -> AsyncIterator[bytes]:
    yield b"retry: %d\n\n" % _RECONNECT_MS
    said: dict[str, Any] | None = None
    number, spoke = 0, time.monotonic()
    while not services.stopping.is_set():
        state = await run_in_threadpool(_look, services, batch_id)
        if state is not None and _counts(state) != said:
            said, number, spoke = _counts(state), number + 1, time.monotonic()
            yield _event("progress", number, state)
        if state is not None and state.closed:
            yield _event("finished", number + 1, state)
            return
        if time.monotonic() - spoke >= HEARTBEAT_S:
            spoke = time.monotonic()
            yield b": still here\n\n"
        await _pause(services)


def _look(services: Services, batch_id: uuid.UUID) -> Progress | None:
    """Return the state, or None while the database does not answer: the stream outlives that."""
    try:
        with reading(services.sessions) as session:
            return progress(session, batch_id)
    except DatabaseUnavailable:
        return None


async def _pause(services: Services) -> None:
    for _ in range(round(LOOK_S / _NAP_S)):
        if services.stopping.is_set():
            return
        await asyncio.sleep(_NAP_S)


def _counts(state: Progress) -> dict[str, Any]:
    """Return what makes an event worth sending; the rate alone does not."""
    return {"status": state.status, "files": state.files, "jobs": state.jobs}


def _event(name: str, number: int, state: Progress) -> bytes:
    data = orjson.dumps(vars(state)).decode()
    return format_sse_event(data_str=data, event=name, id=str(number))
