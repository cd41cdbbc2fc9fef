"""Batches: submit, watch, cancel, retry, read the results."""

import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Response
from pydantic import Field
from sqlalchemy.orm import Session

from api.http import events, results, sources
from api.http.access import READ, Reader, Submitter
from api.http.once import Idempotent
from api.http.parsing import Body, StrictRoute
from api.http.problems import Kind, Problem
from api.http.services import Cursor, Held, Limit
from records import adoption, analyses, batches, listing
from records.base import BatchStatus, JobStatus
from records.database import reading
from records.listing import BatchDetail, BatchSummary, JobSummary, Page

router = APIRouter(prefix="/v1/batches", tags=["batches"], route_class=StrictRoute)

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}(@[A-Za-z0-9._+-]{1,32})?$")]


class BatchRequest(Body):
    """What to analyse, and how urgently."""

    source: str = Field(
        min_length=1,
        max_length=4096,
        description="folder, ZIP, TAR or DICOMDIR on the server, below `source_roots`; or"
        " s3://bucket/prefix, below `source_buckets`",
    )
    analyses: list[Name] = Field(
        default=[],
        max_length=32,
        description="names, or name@version for one version; absent: the newest of each",
    )
    priority: Literal["stat", "urgent", "routine"] = "routine"


class RetryRequest(Body):
    """Which jobs to run again: by default those that failed or were canceled."""

    cause: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9_.]{1,64}$",
        description="a reason code or the part before its dot; then rejected jobs too",
    )


@router.post("", status_code=201, summary="Submit a batch", response_model=BatchDetail)
def submit(request: BatchRequest, caller: Submitter, services: Held, once: Idempotent) -> Response:
    """Write the rows of a batch; workers scan the source and run its analyses from there."""
    settings = services.settings
    source = sources.admit_source(request.source, settings.source_roots, settings.source_buckets)

    def work(session: Session) -> dict[str, Any]:
        new = batches.NewBatch(
            source=source,
            analyses=_analyses(session, request.analyses),
            queue=f"infer.{request.priority}",
            lane=settings.lane,
        )
        return _shown(session, batches.create(session, new, by=caller.name).id)

    return once.answer(caller.name, work, status=201)


@router.get("", summary="List batches, newest first", dependencies=[READ])
def index(
    services: Held,
    status: BatchStatus | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[BatchSummary]:
    """Return one page."""
    with reading(services.sessions) as session:
        return listing.batches(session, status=status, limit=limit, cursor=cursor)


@router.get(
    "/{batch_id}", summary="Show one batch with its counts and progress", dependencies=[READ]
)
def show(batch_id: uuid.UUID, services: Held) -> BatchDetail:
    """Return one batch."""
    with reading(services.sessions) as session:
        return _found(session, batch_id)


@router.get(
    "/{batch_id}/jobs", summary="List the jobs of a batch, oldest first", dependencies=[READ]
)
def jobs(
    batch_id: uuid.UUID,
    services: Held,
    status: Annotated[list[JobStatus], Query(max_length=6)] = [],  # noqa: B006 - FastAPI copies it
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[JobSummary]:
    """Return one page; ``status`` may be given several times."""
    with reading(services.sessions) as session:
        _require(session, batch_id)
        return listing.jobs(session, batch_id, statuses=status, limit=limit, cursor=cursor)


@router.get(
    "/{batch_id}/events",
    dependencies=[READ],
    summary="Follow a batch: server-sent counts until it is finished",
    responses={200: {"content": {"text/event-stream": {}}}},
    response_class=Response,
)
def follow(
    batch_id: uuid.UUID,
    services: Held,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> Response:
    """Send `progress` events when counts change and `finished` at the end.

    Every event carries the whole state, so `Last-Event-ID` has nothing to catch up on.
    """
    del last_event_id
    with reading(services.sessions) as session:
        _require(session, batch_id)
    return events.stream(services, batch_id)


@router.get(
    "/{batch_id}/results",
    summary="Read every result of a batch",
    responses={200: {"content": {"application/json": {}, "text/csv": {}}}},
    response_class=Response,
)
def read_results(
    batch_id: uuid.UUID,
    caller: Reader,
    services: Held,
    format: Literal["json", "csv"] = "json",  # noqa: A002 - the parameter's name in the query
) -> Response:
    """Stream the results by study, analysis, step, series and ordinal."""
    with reading(services.sessions) as session:
        _require(session, batch_id)
        ids = listing.ordered_jobs(session, batch_id)
    results.note_export(services, caller, "batch", batch_id)
    return results.stream(services, ids, form=format, name=f"results-{batch_id}")


@router.post("/{batch_id}/cancel", summary="Cancel a batch", response_model=BatchDetail)
def cancel(batch_id: uuid.UUID, caller: Submitter, once: Idempotent) -> Response:
    """Cancel what waits and ask what runs to stop."""

    def work(session: Session) -> dict[str, Any]:
        batches.cancel(session, batch_id, by=caller.name)
        return _shown(session, batch_id)

    return once.answer(caller.name, work)


@router.post(
    "/{batch_id}/retry", summary="Run again what did not succeed", response_model=BatchDetail
)
def retry(
    batch_id: uuid.UUID, caller: Submitter, once: Idempotent, request: RetryRequest | None = None
) -> Response:
    """Queue jobs again with all their attempts; scan again what was never planned."""
    cause = request.cause if request else None

    def work(session: Session) -> dict[str, Any]:
        adoption.retry_shared(session, batch_id, by=caller.name, cause=cause)
        return _shown(session, batch_id)

    return once.answer(caller.name, work)


def _analyses(session: Session, asked: list[str]) -> list[str]:
    """Return what is asked for without what means the same a second time."""
    named: dict[uuid.UUID, str] = {}
    unknown: list[str] = []
    for name in asked:
        try:
            named.setdefault(analyses.resolve(session, name).id, name)
        except analyses.AnalysisMissing:
            unknown.append(name)
    if unknown:
        raise Problem(Kind.UNKNOWN_ANALYSIS, f"Not registered: {', '.join(unknown)}.")
    return list(named.values())


def _found(session: Session, batch_id: uuid.UUID) -> BatchDetail:
    found = listing.batch(session, batch_id)
    if found is None:
        raise Problem(Kind.NOT_FOUND, "There is no batch of that id.")
    return found


def _require(session: Session, batch_id: uuid.UUID) -> None:
    if listing.progress(session, batch_id) is None:
        raise Problem(Kind.NOT_FOUND, "There is no batch of that id.")


def _shown(session: Session, batch_id: uuid.UUID) -> dict[str, Any]:
    session.flush()
    session.expire_all()
    return vars(_found(session, batch_id))
