"""Trainings and the schedules that make them."""

import uuid
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import Field
from sqlalchemy.orm import Session

from api.http import sources
from api.http.access import READ, Trainer
from api.http.once import Idempotent
from api.http.parsing import Body, StrictRoute
from api.http.problems import Kind, Problem
from api.http.services import Cursor, Held, Limit, Services
from records import adoption, listing, schedules, training_requests, trainings
from records.base import TrainingStatus
from records.database import reading
from records.listing import Page, ScheduleRow, TrainingDetail, TrainingSummary

router = APIRouter(prefix="/v1", route_class=StrictRoute)

Manifest = Annotated[
    str, Field(min_length=1, max_length=4096, description="file below `source_roots`")
]
Recipe = Annotated[dict[str, Any], Field(min_length=1, description="a recipe document as JSON")]


class TrainingRequest(Body):
    """Which recipe to train on which cases."""

    recipe: Recipe
    manifest: Manifest


class ScheduleRequest(TrainingRequest):
    """What to train by itself, and when: by one of cron, new cases and drift."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")
    cron: str | None = Field(
        default=None, min_length=9, max_length=64, description="five fields, UTC"
    )
    new_cases: int | None = Field(
        default=None, ge=1, le=1_000_000, description="train when so many corrections have come"
    )
    on_drift: bool = Field(default=False, description="train when a drift was found")
    analysis: str | None = Field(
        default=None, max_length=120, description="whose corrections join, and whose drift counts"
    )


@router.post(
    "/trainings",
    tags=["trainings"],
    status_code=201,
    summary="Ask for a training",
    response_model=TrainingDetail,
)
def submit(request: TrainingRequest, caller: Trainer, services: Held, once: Idempotent) -> Response:
    """Queue a training. The trainer checks the recipe and every row of the manifest first."""
    manifest = _manifest(services, request)

    def work(session: Session) -> dict[str, Any]:
        new = trainings.NewTraining(
            recipe=request.recipe,
            manifest=manifest,
            lane=services.settings.lane,
            max_attempts=services.settings.max_attempts,
        )
        return _shown(session, trainings.create(session, new, by=caller.name).id)

    return once.answer(caller.name, work, status=201)


@router.get(
    "/trainings", tags=["trainings"], summary="List trainings, newest first", dependencies=[READ]
)
def index(
    services: Held,
    status: TrainingStatus | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[TrainingSummary]:
    """Return one page."""
    with reading(services.sessions) as session:
        return listing.trainings(session, status=status, limit=limit, cursor=cursor)


@router.get(
    "/trainings/{training_id}", tags=["trainings"], summary="Show one training", dependencies=[READ]
)
def show(training_id: uuid.UUID, services: Held) -> TrainingDetail:
    """Return one training with its recipe."""
    with reading(services.sessions) as session:
        return _found(session, training_id)


@router.post(
    "/trainings/{training_id}/cancel",
    tags=["trainings"],
    summary="Cancel a training",
    response_model=TrainingDetail,
)
def cancel(training_id: uuid.UUID, caller: Trainer, once: Idempotent) -> Response:
    """Cancel it at once where it waits; ask it to stop where it runs."""
    return once.answer(caller.name, _asked(training_requests.cancel, training_id, by=caller.name))


@router.post(
    "/trainings/{training_id}/pause",
    tags=["trainings"],
    summary="Pause a training",
    response_model=TrainingDetail,
)
def pause(training_id: uuid.UUID, caller: Trainer, once: Idempotent) -> Response:
    """Pause it at once where it waits; ask its trainer to let go of it where it runs."""
    return once.answer(caller.name, _asked(training_requests.pause, training_id, by=caller.name))


@router.post(
    "/trainings/{training_id}/resume",
    tags=["trainings"],
    summary="Resume a paused training",
    response_model=TrainingDetail,
)
def resume(training_id: uuid.UUID, caller: Trainer, once: Idempotent) -> Response:
    """Queue it again; any trainer goes on from its checkpoint."""
    return once.answer(caller.name, _asked(adoption.resume_shared, training_id, by=caller.name))


@router.post(
    "/schedules",
    tags=["schedules"],
    status_code=201,
    summary="Add a schedule",
    response_model=ScheduleRow,
)
def add(request: ScheduleRequest, caller: Trainer, services: Held, once: Idempotent) -> Response:
    """Train regularly; each slot ends in a candidate, never in a silent switch."""
    manifest = _manifest(services, request)

    def work(session: Session) -> dict[str, Any]:
        wish = request.model_dump() | {"manifest": manifest}
        new = schedules.NewSchedule(**wish)
        row = schedules.add(session, new, by=caller.name)
        return vars(listing.schedule_row(row))

    return once.answer(caller.name, work, status=201)


@router.get("/schedules", tags=["schedules"], summary="List schedules by name", dependencies=[READ])
def list_schedules(services: Held, limit: Limit = 50, cursor: Cursor = None) -> Page[ScheduleRow]:
    """Return one page."""
    with reading(services.sessions) as session:
        return listing.schedules(session, limit=limit, cursor=cursor)


@router.post(
    "/schedules/{name}/run",
    tags=["schedules"],
    status_code=201,
    summary="Make a training of a schedule now",
    response_model=TrainingDetail,
)
def run(name: Annotated[str, Path(max_length=120)], caller: Trainer, once: Idempotent) -> Response:
    """Queue a training beside the slots of the schedule."""

    def work(session: Session) -> dict[str, Any]:
        return _shown(session, schedules.run(session, name, by=caller.name).id)

    return once.answer(caller.name, work, status=201)


@router.post("/schedules/{name}/remove", tags=["schedules"], summary="Remove a schedule")
def remove(
    name: Annotated[str, Path(max_length=120)], caller: Trainer, once: Idempotent
) -> Response:
    """Remove it; the trainings it made stay."""

    def work(session: Session) -> dict[str, Any]:
        schedules.remove(session, name, by=caller.name)
        return {"removed": name}

    return once.answer(caller.name, work)


def _manifest(services: Services, request: TrainingRequest) -> str:
    """Return the manifest, once it and the file that the recipe begins with may be read."""
    roots = services.settings.source_roots
    manifest = sources.admit(request.manifest, roots)
    transfer = request.recipe.get("transfer")
    begins_with = transfer.get("source") if isinstance(transfer, dict) else None
    if isinstance(begins_with, str) and "@" not in begins_with:  # else a registered version
        sources.admit(str(manifest.parent / begins_with), roots)
    return str(manifest)


def _asked(
    change: Callable[..., object], training_id: uuid.UUID, *, by: str
) -> Callable[[Session], dict[str, Any]]:
    """Return what asks for a change of a training and shows how it stands then."""

    def work(session: Session) -> dict[str, Any]:
        change(session, training_id, by=by)
        return _shown(session, training_id)

    return work


def _found(session: Session, training_id: uuid.UUID) -> TrainingDetail:
    found = listing.training(session, training_id)
    if found is None:
        raise Problem(Kind.NOT_FOUND, "There is no training of that id.")
    return found


def _shown(session: Session, training_id: uuid.UUID) -> dict[str, Any]:
    session.flush()
    return vars(_found(session, training_id))
