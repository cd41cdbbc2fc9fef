"""What comes back from use: corrections of readers, what to label next, and drift."""

import base64
import binascii
import uuid
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Response
from pydantic import Field
from sqlalchemy.orm import Session

from api.http.access import READ, Submitter
from api.http.once import Idempotent
from api.http.parsing import Body, StrictRoute
from api.http.problems import Kind, Problem
from api.http.services import Held
from records import corrections, listing
from records.corrections import NewCorrection, Verdict
from records.database import reading
from records.listing import CorrectionRow, DriftRow
from records.uncertain import UncertainCase, uncertain

router = APIRouter(prefix="/v1", route_class=StrictRoute)

#: its own style sheet and nothing else
_PAGE_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
)

Number = Annotated[float, Field(allow_inf_nan=False)]
Triple = Annotated[list[Number], Field(min_length=3, max_length=3)]


class Box(Body):
    """One box in mm, patient space (LPS); ``size`` runs along (slices, rows, columns)."""

    label: str = Field(max_length=64)
    centre: Triple
    size: Triple


class CorrectionRequest(Body):
    """What a reader says of the answer of one step about one series."""

    step: str = Field(min_length=1, max_length=64)
    verdict: Annotated[Verdict, Field(strict=False)]
    series: str | None = Field(default=None, max_length=64, description="of a job with several")
    label: str | None = Field(
        default=None,
        max_length=corrections.LONGEST_LABEL,
        description="where several may hold, joined by `|`; `-` = none",
    )
    boxes: list[Box] | None = Field(default=None, max_length=corrections.MOST_BOXES)
    mask: str | None = Field(
        default=None, description="DICOM SEG or .nii.gz in base64; `nightshift correct` takes more"
    )


@router.post(
    "/jobs/{job_id}/corrections",
    tags=["corrections"],
    status_code=201,
    summary="Accept, reject or replace the answer of a step",
    response_model=CorrectionRow,
)
def correct(
    job_id: uuid.UUID, request: CorrectionRequest, caller: Submitter, once: Idempotent
) -> Response:
    """Keep what a reader says; what is accepted or replaced becomes a labelled case."""
    new = NewCorrection(
        job_id=job_id,
        step=request.step,
        verdict=request.verdict,
        series_instance_uid=request.series,
        label=request.label,
        boxes=None if request.boxes is None else [box.model_dump() for box in request.boxes],
        mask=None if request.mask is None else _decoded(request.mask),
    )

    def work(session: Session) -> dict[str, Any]:
        return vars(listing.correction_row(corrections.add(session, new, by=caller.name)))

    return once.answer(caller.name, work, status=201)


@router.get(
    "/jobs/{job_id}/corrections",
    tags=["corrections"],
    summary="List what was said of a job",
    dependencies=[READ],
)
def of_job(job_id: uuid.UUID, services: Held) -> list[CorrectionRow]:
    """Return the corrections, oldest first; masks stay in the records."""
    with reading(services.sessions) as session:
        return [listing.correction_row(row) for row in corrections.of_job(session, job_id)]


@router.get(
    "/analyses/{analysis}/uncertain",
    tags=["corrections"],
    summary="List the answers that were least sure: what to label next",
    dependencies=[READ],
)
def least_sure(
    analysis: str, services: Held, most: Annotated[int, Query(ge=1, le=500)] = 50
) -> list[UncertainCase]:
    """Return those that nobody has looked at, most unsure first."""
    with reading(services.sessions) as session:
        return uncertain(session, analysis, most=most)


@router.get(
    "/drift",
    tags=["drift"],
    summary="Show the last look at the drift of each analysis",
    dependencies=[READ],
)
def drift(services: Held) -> list[DriftRow]:
    """Return windows, tests and shares, by analysis."""
    with reading(services.sessions) as session:
        return listing.drift(session)


@router.get(
    "/drift/page",
    tags=["drift"],
    summary="Show the same as a page",
    responses={200: {"content": {"text/html": {}}}},
    response_class=Response,
    dependencies=[READ],
)
def drift_page(services: Held) -> Response:
    """Return one HTML file without scripts."""
    from api.reporting.drift import render  # here: no start waits for a page

    with reading(services.sessions) as session:
        html = render(listing.drift(session))
    headers = {"Content-Security-Policy": _PAGE_POLICY}
    return Response(html, headers=headers, media_type="text/html")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as wrong:
        raise Problem(Kind.INVALID, "The mask is not base64.") from wrong
