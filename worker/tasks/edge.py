"""The edge of every task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from records.database import DatabaseUnavailable

log = structlog.get_logger(__name__)


@contextmanager
def edge(task: str, **ids: str) -> Iterator[None]:
    """Bind the ids to every log line of the block; log what goes wrong, and end it here."""
    with structlog.contextvars.bound_contextvars(task=task, **ids):
        try:
            yield
        except DatabaseUnavailable as error:
            log.warning("task.database_unavailable", why=str(error))
        except Exception:  # the task edge, see the top of this folder
            log.exception("task.failed")
