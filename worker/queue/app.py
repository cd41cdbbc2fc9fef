"""The Celery app. The database is the queue; messages are wake-ups that may be lost or repeated.

Early ack, not late: with leases in SQL a late ack buys nothing and brings redelivery after the
visibility timeout, requeue loops and leaked prefetch slots. No result backend: rows say it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celery import Celery
from kombu.entity import Queue

from worker.queue import messages
from worker.queue.settings import Settings

#: between two upkeep ticks
TICK = timedelta(seconds=1)


def make_app(settings: Settings) -> Celery:
    """Return a configured app. Connects to nothing yet; tasks register themselves on it."""
    app = Celery("nightshift", broker=settings.broker, set_as_current=False)
    app.conf.update(
        _delivery()
        | _pool()
        | {
            "broker_transport_options": _transport(),
            "beat_schedule": {
                "upkeep": {"task": messages.UPKEEP_TICK, "schedule": TICK},
            },
            "beat_max_loop_interval": TICK.total_seconds(),
        }
    )
    return app


def _delivery() -> dict[str, Any]:
    """Settings of messages: JSON only, ids only, acknowledged before they run, no results."""
    queues = (messages.SCAN, messages.UPKEEP, messages.TRAIN, *messages.INFER_QUEUES)
    return {
        "accept_content": ["json"],
        "task_serializer": "json",
        "event_serializer": "json",
        "task_acks_late": False,
        "task_ignore_result": True,
        "task_queues": [Queue(name) for name in queues],  # type: ignore[no-untyped-call]
        "task_default_queue": messages.UPKEEP,
        "task_create_missing_queues": False,
        "task_routes": {
            messages.SCAN_BATCH: {"queue": messages.SCAN},
            messages.RUN_TRAINING: {"queue": messages.TRAIN},
            messages.UPKEEP_TICK: {"queue": messages.UPKEEP},
            messages.RUN_JOB: {"queue": messages.INFER_ROUTINE},
        },
        # the next tick resends what could not be sent
        "task_publish_retry_policy": {"max_retries": 2, "interval_start": 0.1},
        "task_send_sent_event": True,
        "worker_send_task_events": True,
    }


def _pool() -> dict[str, Any]:
    """Settings of worker processes: threads that take a message only when they are free.

    Threads, not prefork, by measurement (``bench.pool``, two idle cores, one process): 460
    against 541 ms a job, because reading and writing overlap the device, and a tenth less memory.
    A prefork child is also a daemon and may not start the reader that a bad file may kill. What
    threads cannot do is be killed: ``worker.heartbeat`` ends the process of a hung job.
    """
    return {
        "worker_pool": "threads",
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_pool_limit": 4,
        "broker_connection_timeout": 5,
        "broker_connection_max_retries": None,
        "broker_connection_retry_on_startup": True,
    }


def _transport() -> dict[str, Any]:
    """Options of the Redis transport: notice a dead peer, never redeliver, urgent queues first."""
    return {
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 5,
        # redelivery belongs to the database; a day is longer than any message waits for its ack
        "visibility_timeout": 86_400,
        "queue_order_strategy": "worker.queue.order:UrgentFirst",
        # we use queues, not priorities: one key per queue instead of four
        "priority_steps": [0],
    }
