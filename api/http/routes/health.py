"""Health, readiness, metrics: open to whoever reaches the port, without anything to hide."""

from dataclasses import dataclass
from typing import Final, Literal

from fastapi import APIRouter, Response

from api.http.metrics import MEDIA_TYPE
from api.http.services import Held, Services
from records.database import DatabaseUnavailable, reading, schema_state

router = APIRouter(tags=["health"])

BROKER_TIMEOUT_S: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing the API needs, and what is wrong with it."""

    ok: bool
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """``degraded``: requests are taken and kept, but nothing wakes the workers."""

    status: Literal["ready", "degraded", "unready"]
    database: Check
    tables: Check
    broker: Check


@router.get("/healthz", summary="Say that the process answers")
def alive() -> dict[str, str]:
    """Return at once; looks at nothing else."""
    return {"status": "alive"}


@router.get(
    "/readyz",
    summary="Say whether requests can be served, and what is wrong",
    responses={503: {"model": Readiness}},
)
def ready(services: Held, response: Response) -> Readiness:
    """Look at the database, its tables and the broker.

    Without a broker the answer stays 200 and says ``degraded``: requests are rows, and rows wait.
    """
    database = _database(services)
    tables = _tables(services) if database.ok else Check(ok=False, sentence="Not looked at.")
    broker = _broker(services.settings.broker)
    if not (database.ok and tables.ok):
        response.status_code = 503
        return Readiness(status="unready", database=database, tables=tables, broker=broker)
    return Readiness(
        status="ready" if broker.ok else "degraded",
        database=database,
        tables=tables,
        broker=broker,
    )


@router.get(
    "/metrics",
    summary="Show the metrics in Prometheus' format",
    responses={200: {"content": {"text/plain": {}}}},
    response_class=Response,
)
def metrics(services: Held) -> Response:
    """Return durations of answers and gauges of queues, leases, models and results."""
    return Response(services.metrics.text(), media_type=MEDIA_TYPE)


def _database(services: Services) -> Check:
    try:
        with reading(services.sessions):
            return Check(ok=True, sentence="The database answers.")
    except DatabaseUnavailable as error:
        return Check(ok=False, sentence=str(error))


def _tables(services: Services) -> Check:
    try:
        state = schema_state(services.settings.database)
    except DatabaseUnavailable as error:
        return Check(ok=False, sentence=str(error))
    return Check(ok=state.is_current, sentence=state.sentence)


def _broker(url: str) -> Check:
    import redis  # here: it is a tenth of the start-up time, and starting does not need it

    # Kombu and redis-py spell the address of a unix socket differently.
    address = url.replace("redis+socket://", "unix://", 1)
    try:
        with redis.Redis.from_url(
            address, socket_connect_timeout=BROKER_TIMEOUT_S, socket_timeout=BROKER_TIMEOUT_S
        ) as client:
            client.ping()
    except (redis.RedisError, OSError, ValueError):  # ValueError: an address redis cannot read
        return Check(
            ok=False, sentence="The broker does not answer; work waits in the database meanwhile."
        )
    return Check(ok=True, sentence="The broker answers.")
