"""What Prometheus reads: our HTTP answers, and the queues as the database has them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import Scope

from records.database import DatabaseUnavailable
from records.listing import Stats

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class HttpMetrics:
    """Durations of answers by method, route and status, and refused sign-ins."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "nightshift_http_request_seconds",
            "Seconds until the last byte of an answer.",
            ("method", "route", "status"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.refused = Counter(
            "nightshift_http_refused",
            "Requests refused for their key (sign_in) or its roles (role).",
            ("why",),
            registry=self.registry,
        )

    def observe(self, scope: Scope, status: int, seconds: float) -> None:
        """Count one answer. Labels are route templates, never addresses: those are unbounded."""
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._seconds.labels(method, route, str(status or "broken")).observe(seconds)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)


class Remembered:
    """The stats of the database, asked for at most once in ``seconds`` however many look."""

    def __init__(self, ask: Callable[[], Stats], seconds: float = 2.0) -> None:
        self._ask = ask
        self._seconds = seconds
        self._lock = threading.Lock()
        self._until = 0.0
        self._stats: Stats | None = None

    def __call__(self) -> Stats:
        """Return the stats.

        Raises:
            DatabaseUnavailable: the database does not answer.

        """
        with self._lock:
            if self._stats is None or time.monotonic() >= self._until:
                self._stats = self._ask()
                self._until = time.monotonic() + self._seconds
            return self._stats


class DatabaseCollector(Collector):
    """Gauges from the stats. Without a database only ``nightshift_database_up`` is left."""

    def __init__(self, stats: Callable[[], Stats]) -> None:
        self._stats = stats

    def describe(self) -> list[Metric]:
        """Return nothing: registering must not ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges of this moment."""
        try:
            stats = self._stats()
        except DatabaseUnavailable:
            yield _gauge("database_up", "1 while the database answers.", {(): 0})
            return
        yield _gauge("database_up", "1 while the database answers.", {(): 1})
        yield from _queues(stats)
        yield from _leases(stats)
        yield _gauge(
            "jobs_unsent", "Jobs that may start and were not woken.", {(): stats.publish.unsent}
        )
        yield _gauge(
            "jobs_unsent_oldest_seconds",
            "Age of the oldest job that may start and was not woken.",
            {(): stats.publish.oldest_unsent_seconds},
        )
        for name, label, counts in (
            ("batches", "status", stats.batches),
            ("trainings", "status", stats.trainings),
            ("model_versions", "stage", stats.model_stages),
            ("results", "kind", stats.results),
        ):
            values = {(key,): count for key, count in counts.items()}
            yield _gauge(name, f"{name} by {label}.".capitalize(), values, (label,))


def _queues(stats: Stats) -> Iterator[Metric]:
    yield _gauge(
        "jobs",
        "Jobs by queue and status.",
        {(q.queue, status): n for q in stats.queues for status, n in q.jobs.items()},
        ("queue", "status"),
    )
    yield _gauge(
        "jobs_oldest_queued_seconds",
        "Age of the oldest job that may start.",
        {(q.queue,): q.oldest_queued_seconds for q in stats.queues},
        ("queue",),
    )


def _leases(stats: Stats) -> Iterator[Metric]:
    values = {}
    for kind, leases in (("job", stats.job_leases), ("training", stats.training_leases)):
        values[kind, "running"] = leases.running
        values[kind, "expired"] = leases.expired
    yield _gauge("leases", "Running work by state of its lease.", values, ("kind", "state"))


def _gauge(
    name: str,
    about: str,
    values: Mapping[Any, float],
    labels: tuple[str, ...] = (),
) -> Metric:
    family = GaugeMetricFamily(f"nightshift_{name}", about, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family
