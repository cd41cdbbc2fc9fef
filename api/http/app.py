"""The app: every route behind one guard."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from sqlalchemy.orm import Session, sessionmaker

from api.http import docs, problems
from api.http.drift_metrics import DriftCollector
from api.http.guard import Guard, is_loopback
from api.http.metrics import DatabaseCollector, HttpMetrics, Remembered
from api.http.routes import (
    batches,
    catalogue,
    feedback,
    health,
    jobs,
    lineage,
    operations,
    trainings,
)
from api.http.services import Services
from records import listing
from records.database import reading
from records.listing import DriftRow, Stats
from worker.queue.settings import Settings

ROUTERS: Final = (
    batches.router,
    jobs.router,
    catalogue.router,
    lineage.router,
    trainings.router,
    operations.router,
    feedback.router,
    health.router,
    docs.router,
)

#: FastAPI's own telemetry would export messages and stack traces where the environment asks it to
QUIET: Final[TelemetryConfig] = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "auto_configure": False,
}


class OpenDoor(ValueError):
    """Without API keys the API answers on this machine only."""


def create_app(settings: Settings, sessions: sessionmaker[Session]) -> FastAPI:
    """Return the app. Nothing is opened and no database is asked yet.

    Raises:
        OpenDoor: ``api_keys_required`` is off and ``api_host`` is not a loopback address.

    """
    if not settings.api_keys_required and not is_loopback(settings.api_host):
        raise OpenDoor(
            "NIGHTSHIFT_API_KEYS_REQUIRED=false needs NIGHTSHIFT_API_HOST=127.0.0.1: "
            "an API without keys must not be reachable from other machines"
        )
    metrics = HttpMetrics()
    stats = Remembered(lambda: _stats(sessions))
    metrics.registry.register(DatabaseCollector(stats))
    metrics.registry.register(DriftCollector(lambda: _drift(sessions)))
    app = FastAPI(
        title="Nightshift",
        summary="Bulk inference and retraining for medical images",
        version=version("nightshift"),
        openapi_url="/openapi.json",
        docs_url=None,  # FastAPI's pages load scripts from the internet; ours is in docs.py
        redoc_url=None,
        redirect_slashes=False,
        telemetry=QUIET,
    )
    app.state.services = Services(
        settings=settings, sessions=sessions, metrics=metrics, stats=stats
    )
    for router in ROUTERS:  # include_router() would build each of their routes a second time
        app.routes.extend(router.routes)
    problems.install(app)
    docs.install(app, ROUTERS)
    app.add_middleware(Guard, metrics=metrics, keyless=not settings.api_keys_required)
    return app


def _drift(sessions: sessionmaker[Session]) -> list[DriftRow]:
    with reading(sessions) as session:
        return listing.drift(session)


def _stats(sessions: sessionmaker[Session]) -> Stats:
    with reading(sessions) as session:
        return listing.stats(session)
