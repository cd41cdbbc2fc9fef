"""Analyses and models: what can be run, and which version of a model is in force."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import Field
from sqlalchemy.orm import Session

from api.http.access import READ, Approver
from api.http.once import Idempotent
from api.http.parsing import Body, StrictRoute
from api.http.problems import Kind, Problem
from api.http.services import Cursor, Held, Limit
from records import listing, models
from records.base import Stage
from records.database import reading
from records.listing import AnalysisDetail, AnalysisSummary, ModelDetail, ModelSummary, Page

router = APIRouter(prefix="/v1", route_class=StrictRoute)

Name = Annotated[str, Path(max_length=120)]
Version = Annotated[str, Path(max_length=32)]
VERSION = "/models/{name}/versions/{version}"


class StageRequest(Body):
    """Why the stage of a model version is changed. Who is the key's name."""

    why: str = Field(min_length=3, max_length=1000, pattern=r"\S")


class PromotionRequest(StageRequest):
    """Why a model version goes active."""

    override: bool = Field(
        default=False, description="whatever its gate says, or without one; the audit says so"
    )


@router.get(
    "/analyses", tags=["analyses"], summary="List analysis versions by name", dependencies=[READ]
)
def analyses(services: Held, limit: Limit = 50, cursor: Cursor = None) -> Page[AnalysisSummary]:
    """Return one page."""
    with reading(services.sessions) as session:
        return listing.analyses(session, limit=limit, cursor=cursor)


@router.get(
    "/analyses/{name}/versions/{version}",
    dependencies=[READ],
    tags=["analyses"],
    summary="Show one analysis version with its document",
)
def analysis(name: Name, version: Version, services: Held) -> AnalysisDetail:
    """Return one analysis version."""
    with reading(services.sessions) as session:
        found = listing.analysis(session, name, version)
    if found is None:
        raise Problem(Kind.NOT_FOUND, "There is no such analysis version.")
    return found


@router.get("/models", tags=["models"], summary="List model versions by name", dependencies=[READ])
def index(
    services: Held,
    stage: Stage | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[ModelSummary]:
    """Return one page."""
    with reading(services.sessions) as session:
        return listing.models(session, stage=stage, limit=limit, cursor=cursor)


@router.get(
    "/models/{name}", tags=["models"], summary="List the versions of one model", dependencies=[READ]
)
def versions(
    name: Name, services: Held, limit: Limit = 50, cursor: Cursor = None
) -> Page[ModelSummary]:
    """Return one page, oldest first."""
    with reading(services.sessions) as session:
        found = listing.models(session, name=name, limit=limit, cursor=cursor)
    if not found.items and cursor is None:
        raise Problem(Kind.NOT_FOUND, "There is no model of that name.")
    return found


@router.get(
    VERSION,
    tags=["models"],
    summary="Show one model version with its metadata",
    dependencies=[READ],
)
def show(name: Name, version: Version, services: Held) -> ModelDetail:
    """Return one model version."""
    with reading(services.sessions) as session:
        return _found(session, name, version)


@router.post(
    f"{VERSION}/promote",
    tags=["models"],
    summary="Make a model version the active one",
    response_model=ModelDetail,
)
def promote(
    name: Name, version: Version, request: PromotionRequest, caller: Approver, once: Idempotent
) -> Response:
    """Retire the version that was active and put this one in force for jobs planned from now.

    Its last gate must say so, and be of the version that is active now.
    """

    def work(session: Session) -> dict[str, Any]:
        models.promote(
            session, name, version, by=caller.name, why=request.why, override=request.override
        )
        return _shown(session, name, version)

    return once.answer(caller.name, work)


@router.post(
    f"{VERSION}/rollback",
    tags=["models"],
    summary="Take the active version back to the one before it",
    response_model=ModelDetail,
)
def rollback(
    name: Name, version: Version, request: StageRequest, caller: Approver, once: Idempotent
) -> Response:
    """Return the version now in force. ``version`` must be the active one: no second rollback."""

    def work(session: Session) -> dict[str, Any]:
        _found(session, name, version)
        active = models.lock_active(session, name)
        if active is None or active.version != version:
            raise Problem(Kind.CONFLICT, "Only the active version can be rolled back.")
        now = models.rollback(session, name, by=caller.name, why=request.why)
        return _shown(session, name, now.version)

    return once.answer(caller.name, work)


@router.post(
    f"{VERSION}/retire",
    tags=["models"],
    summary="Take a model version out of use",
    response_model=ModelDetail,
)
def retire(
    name: Name, version: Version, request: StageRequest, caller: Approver, once: Idempotent
) -> Response:
    """Retire it; where it was the active one, the name has none afterwards."""

    def work(session: Session) -> dict[str, Any]:
        models.retire(session, name, version, by=caller.name, why=request.why)
        return _shown(session, name, version)

    return once.answer(caller.name, work)


def _found(session: Session, name: str, version: str) -> ModelDetail:
    found = listing.model(session, name, version)
    if found is None:
        raise Problem(Kind.NOT_FOUND, "There is no such model version.")
    return found


def _shown(session: Session, name: str, version: str) -> dict[str, Any]:
    session.flush()
    return vars(_found(session, name, version))
