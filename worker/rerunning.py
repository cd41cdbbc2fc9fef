"""The use case of the desk for a rerun: write the studies of another batch again, scan nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from uuid import UUID

import structlog
from sqlalchemy import Row

from pipeline.reasons import Reason
from records import batches, models, reruns
from records.database import reading, unit_of_work
from records.reruns import Rerun
from records.tables import Batch
from worker import dispatch
from worker.flights import Flight
from worker.scanning import CHUNK, FILES_CHUNK, CannotPlan
from worker.services import Services

log = structlog.get_logger(__name__)


def asked(flight: Flight, services: Services) -> Rerun | None:
    """Return what the claimed batch runs again, or None where it is to be scanned."""
    with reading(services.sessions) as session:
        return reruns.asked(session.get_one(Batch, flight.lease.id))


def carry(again: Rerun, flight: Flight, services: Services) -> None:
    """Plan a claimed batch by what another one found, a chunk at a time; jobs may run meanwhile.

    Raises:
        PipelineError: a model has no active version any more.
        Fenced: the batch is no longer ours, or was canceled.

    """
    with reading(services.sessions) as session:
        studies = reruns.studies(session, again)
    for chunk in _chunks(studies):
        flight.checkpoint()
        _write(chunk, again, flight, services)
    with unit_of_work(services.sessions) as session:
        batches.finish_plan(session, flight.lease)
    log.info("batch.planned", studies=len(studies))


def _write(chunk: list[UUID], again: Rerun, flight: Flight, services: Services) -> None:
    try:
        with unit_of_work(services.sessions) as session:
            reruns.record_studies(session, flight.lease, again, chunk)
    except models.ModelVersionMissing as missing:
        raise CannotPlan(str(missing), Reason.MODEL_UNAVAILABLE) from missing
    dispatch.dispatch_jobs(services)


def _chunks(studies: Iterable[Row[UUID, int]]) -> Iterator[list[UUID]]:
    """Yield as many studies at a time as fit a transaction."""
    chunk: list[UUID] = []
    files = 0
    for study in studies:
        chunk.append(study.id)
        files += study.instances
        if len(chunk) == CHUNK or files >= FILES_CHUNK:
            yield chunk
            chunk, files = [], 0
    if chunk:
        yield chunk
