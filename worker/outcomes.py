"""What becomes of a job whose work raised: one table from error class to outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import structlog
from sqlalchemy.orm import Session

from pipeline.errors import (
    NO_ROOM,
    ComputeFailed,
    DeadlineExceeded,
    Interrupted,
    PipelineError,
    StudyRejected,
)
from pipeline.reasons import Reason
from records import jobs
from records.base import JobStatus
from records.database import DatabaseUnavailable, unit_of_work
from records.leases import Fenced
from worker import metrics
from worker.flights import Flight, Stop
from worker.logging import places
from worker.services import Services

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended. ``retry`` asks for another one while attempts are left."""

    status: JobStatus
    reason: Reason
    detail: str
    retry: bool


#: status, and whether another attempt may help; the first class that fits decides
TABLE: Final[Mapping[type[BaseException], tuple[JobStatus, bool]]] = {
    StudyRejected: (JobStatus.REJECTED, False),
    # the next attempt would take as long: a person raises the limit and retries by cause
    DeadlineExceeded: (JobStatus.FAILED, False),
    ComputeFailed: (JobStatus.FAILED, True),
    Exception: (JobStatus.FAILED, True),
}

Record: TypeAlias = Callable[[Session], object]


def outcome_of(error: Exception) -> Outcome:
    """Return what the table says of an error."""
    status, retry = next(ends for kind, ends in TABLE.items() if isinstance(error, kind))
    reason, detail = _because(error)
    return Outcome(status, reason, detail, retry)


def _because(error: Exception) -> tuple[Reason, str]:
    """Return reason and sentence. The messages of libraries may quote a header: not used."""
    match error:
        case PipelineError():
            return error.reason, error.sentence
        case MemoryError():
            return Reason.RUN_OUT_OF_MEMORY, "memory was used up"
        case OSError() if error.errno in NO_ROOM:
            return Reason.RUN_DISK_FULL, "a disk is full"
        case _:
            where = (places(error) or ["nowhere"])[-1]
            return Reason.RUN_ERROR, f"unexpected {type(error).__name__} in {where}"


def settle(error: Exception, flight: Flight, services: Services) -> None:
    """Record the end of an attempt that raised ``error``. The error goes no further."""
    if isinstance(error, Fenced) or flight.stop is Stop.LOST:
        _count("fenced", "run.worker_lost")
        log.warning("job.fenced")
        return
    if isinstance(error, DatabaseUnavailable):
        # nothing can be recorded; the lease runs out and the job is queued again
        _count("unrecorded", "run.error")
        log.warning("job.unrecorded", why=str(error))
        return
    if isinstance(error, Interrupted):
        _record(services, flight, lambda session: _interrupt(session, flight))
        _count(flight.stop or "interrupted", "run.canceled")
        log.info("job.interrupted", why=str(flight.stop))
        return
    outcome = outcome_of(error)
    _record(services, flight, lambda session: _end(session, flight, outcome))
    _count(outcome.status, outcome.reason)
    log.warning("job.ended", status=outcome.status, reason=outcome.reason, exc_info=error)


def _interrupt(session: Session, flight: Flight) -> None:
    if flight.stop is Stop.CANCELED:
        jobs.finish_canceled(session, flight.lease)
    else:
        jobs.release(session, flight.lease)


def _end(session: Session, flight: Flight, outcome: Outcome) -> None:
    if outcome.status is JobStatus.REJECTED:
        jobs.reject(
            session, flight.lease, reason=outcome.reason, detail=outcome.detail, report=None
        )
        return
    jobs.fail(
        session,
        flight.lease,
        reason=outcome.reason,
        detail=outcome.detail,
        retry=outcome.retry,
    )


def _record(services: Services, flight: Flight, write: Record) -> None:
    """Write in a unit of work of its own; what cannot be written is left to the lease."""
    try:
        with unit_of_work(services.sessions) as session:
            write(session)
    except Fenced:
        log.warning("job.fenced", token=flight.lease.token)
    except DatabaseUnavailable as error:
        log.warning("job.unrecorded", why=str(error))


def _count(outcome: str, reason: str) -> None:
    metrics.JOBS.labels(outcome=outcome, reason=reason).inc()
