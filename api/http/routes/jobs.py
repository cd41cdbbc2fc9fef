"""Jobs: look inside, fetch what they wrote, cancel, retry."""

import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Response
from sqlalchemy.orm import Session

from api.http import results
from api.http.access import READ, Reader, Submitter
from api.http.once import Idempotent
from api.http.parsing import StrictRoute
from api.http.problems import Kind, Problem
from api.http.services import Held
from records import adoption, listing, requests
from records.database import reading
from records.listing import ArtifactRow, Explanation, JobDetail

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"], route_class=StrictRoute)


@router.get(
    "", summary="Show one job with its attempts, events and run report", dependencies=[READ]
)
def show(job_id: uuid.UUID, services: Held) -> JobDetail:
    """Return one job."""
    with reading(services.sessions) as session:
        return _found(session, job_id)


@router.get(
    "/explain",
    summary="Say why these series were chosen and what happened since",
    dependencies=[READ],
)
def explain(job_id: uuid.UUID, services: Held) -> Explanation:
    """Return the plan clause by clause, the models bound, the attempts and the events."""
    with reading(services.sessions) as session:
        found = listing.explain(session, job_id)
    if found is None:
        raise _missing()
    return found


@router.get(
    "/results",
    summary="Read the results of one job",
    responses={200: {"content": {"application/json": {}, "text/csv": {}}}},
    response_class=Response,
)
def read_results(
    job_id: uuid.UUID,
    caller: Reader,
    services: Held,
    format: Literal["json", "csv"] = "json",  # noqa: A002 - the parameter's name in the query
) -> Response:
    """Stream the results by step, series and ordinal."""
    with reading(services.sessions) as session:
        _found(session, job_id)
    results.note_export(services, caller, "job", job_id)
    return results.stream(services, [job_id], form=format, name=f"results-{job_id}")


@router.get("/artifacts", summary="List the files that a job wrote", dependencies=[READ])
def artifacts(job_id: uuid.UUID, services: Held) -> list[ArtifactRow]:
    """Return name, kind, type, size and digest of each."""
    with reading(services.sessions) as session:
        _found(session, job_id)
        return listing.artifacts(session, job_id)


@router.get(
    "/artifacts/{name}",
    summary="Fetch one file that a job wrote",
    responses={200: {"content": {"application/octet-stream": {}}}},
    response_class=Response,
)
def fetch(
    job_id: uuid.UUID, name: Annotated[str, Path(max_length=120)], caller: Reader, services: Held
) -> Response:
    """Return the bytes; the entity tag is their SHA-256."""
    with reading(services.sessions) as session:
        found = listing.artifact(session, job_id, name)
    if found is None:
        raise Problem(Kind.NOT_FOUND, "This job has no file of that name.")
    answer = results.send_artifact(services.settings.store_path, found)
    results.note_export(services, caller, "artifact", found.sha256)
    return answer


@router.post("/cancel", summary="Cancel a job", response_model=JobDetail)
def cancel(job_id: uuid.UUID, caller: Submitter, once: Idempotent) -> Response:
    """Cancel it at once where it waits; ask it to stop where it runs."""

    def work(session: Session) -> dict[str, Any]:
        requests.cancel(session, job_id, by=caller.name)
        return _shown(session, job_id)

    return once.answer(caller.name, work)


@router.post("/retry", summary="Run a job again that did not succeed", response_model=JobDetail)
def retry(job_id: uuid.UUID, caller: Submitter, once: Idempotent) -> Response:
    """Queue it again with its attempts reset."""

    def work(session: Session) -> dict[str, Any]:
        adoption.retry_job_shared(session, job_id, by=caller.name)
        return _shown(session, job_id)

    return once.answer(caller.name, work)


def _found(session: Session, job_id: uuid.UUID) -> JobDetail:
    found = listing.job(session, job_id)
    if found is None:
        raise _missing()
    return found


def _missing() -> Problem:
    return Problem(Kind.NOT_FOUND, "There is no job of that id.")


def _shown(session: Session, job_id: uuid.UUID) -> dict[str, Any]:
    session.flush()
    session.expire_all()
    return vars(_found(session, job_id))
