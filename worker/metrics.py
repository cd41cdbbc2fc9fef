"""Metrics of one worker process, for Prometheus. Labels are outcomes and stages, never ids."""

from __future__ import annotations

import errno

import structlog
from prometheus_client import Counter, Gauge, Histogram, start_http_server

JOBS = Counter("nightshift_jobs", "Attempts ended, by outcome", ["outcome", "reason"])
STAGE_SECONDS = Histogram(
    "nightshift_stage_seconds",
    "Seconds per stage of a job",
    ["stage"],
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000),
)
IN_FLIGHT = Gauge("nightshift_in_flight", "Leases this process holds")
LEASES_LOST = Counter("nightshift_leases_lost", "Leases that others took over or that ran out")
SCANNED_FILES = Counter("nightshift_scanned_files", "Files looked at while scanning")
MODEL_LOADS = Counter("nightshift_model_loads", "Models loaded by this process")
MODEL_EVICTIONS = Counter("nightshift_model_evictions", "Models let go to make room for others")
MODEL_BYTES = Gauge("nightshift_model_bytes", "Bytes of weights of the models kept loaded")
STORE_BYTES = Counter("nightshift_store_bytes", "Bytes of artifacts stored")

log = structlog.get_logger(__name__)


def serve(host: str, port: int) -> None:
    """Serve ``/metrics`` on ``port``; 0, or a port that is taken, means a free one. Logs which."""
    try:
        server, _ = start_http_server(port, addr=host)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        server, _ = start_http_server(0, addr=host)
    log.info("metrics.served", port=server.server_port)
