"""JSON lines to standard error. They carry ids, reason codes and numbers, never patient data.

The messages of exceptions and warnings can quote headers and paths, so they are not logged:
an unexpected error is written as its class and the places it went through.
"""

from __future__ import annotations

import logging
import sys
import traceback
from pathlib import Path
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

#: loggers that quote values of headers or file names in their messages
QUOTING = ("pydicom", "highdicom", "monai", "nibabel", "PIL")
#: loggers that say at INFO what our own events say better
CHATTY = ("celery.app.trace", "celery.worker.strategy", "celery.beat", "alembic")


def configure(level: str, *, role: str) -> None:
    """Send our events, and the log records of libraries, to standard error as JSON lines."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _Role(role),
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _describe_error,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(sort_keys=True),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in QUOTING:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(capture=True)
    logging.getLogger("py.warnings").setLevel(logging.CRITICAL + 1)


class _Role:
    """Adds the role of the process to every line."""

    def __init__(self, role: str) -> None:
        self._role = role

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        del logger, method
        event["role"] = self._role
        return event


def places(error: BaseException) -> list[str]:
    """Return where an error went through, innermost last: ``study.py:41 analyze``."""
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]


def _describe_error(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Replace an exception by its class and places; its message may quote a header."""
    del logger, method
    info: Any = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        event["places"] = places(error)[-12:]
    return event
