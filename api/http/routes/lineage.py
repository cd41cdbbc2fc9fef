"""Where model versions come from and what came of them: gates, snapshots, recall, rerun."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from sqlalchemy.orm import Session

from api.http import results
from api.http.access import READ, Approver, Submitter, Trainer
from api.http.once import Idempotent
from api.http.parsing import Body, StrictRoute
from api.http.problems import Kind, Problem
from api.http.routes.catalogue import VERSION, Name, StageRequest, Version
from api.http.services import Cursor, Held, Limit, Services
from records import gates, listing, models, recalls, reruns, shadows
from records.database import reading
from records.listing import ArtifactRow, GateRow, LineageDetail, Page, SnapshotRow
from records.recalls import Recalled
from records.shadows import ShadowReport

router = APIRouter(prefix="/v1", route_class=StrictRoute)

Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]


class ShadowRequest(Body):
    """Whether a candidate runs beside the active version."""

    on: bool


@dataclass(frozen=True, kw_only=True)
class RecallDetail(LineageDetail, Recalled):
    """The way of a version that was recalled, and what became of its jobs that had not ended."""


@router.get(
    f"{VERSION}/gates",
    tags=["models"],
    summary="List the gates of a model version, newest first",
    dependencies=[READ],
)
def list_gates(name: Name, version: Version, services: Held) -> list[GateRow]:
    """Return what was decided, by which rule, and the digests of all it was computed from."""
    with reading(services.sessions) as session:
        return listing.gates(session, name, version)


@router.get(
    f"{VERSION}/gates/page",
    tags=["models"],
    summary="Fetch the page of the last gate",
    responses={200: {"content": {"application/octet-stream": {}}}},
    response_class=Response,
    dependencies=[READ],
)
def gate_page(name: Name, version: Version, services: Held) -> Response:
    """Return the HTML file that shows candidate and active version side by side."""
    with reading(services.sessions) as session:
        last = gates.latest(session, models.get(session, name, version))
    return _send(services, f"gate-{name}-{version}.html", "text/html", last.page)


@router.get(
    f"{VERSION}/lineage",
    tags=["models"],
    summary="Say where a model version comes from and what came of it",
    dependencies=[READ],
)
def lineage(name: Name, version: Version, services: Held) -> LineageDetail:
    """Return its snapshot, its training, its gate, and how what it said stands."""
    with reading(services.sessions) as session:
        return listing.lineage_of(session, name, version)


@router.post(
    f"{VERSION}/recall",
    tags=["models"],
    summary="Take back a model version and everything it said",
    response_model=RecallDetail,
)
def recall(
    name: Name, version: Version, request: StageRequest, caller: Approver, once: Idempotent
) -> Response:
    """Mark all its results as recalled. Where it was active, the one before it is again.

    Jobs that wait run the active version instead, or are canceled where none is.
    """

    def work(session: Session) -> dict[str, Any]:
        done = recalls.recall(session, name, version, by=caller.name, why=request.why)
        return vars(listing.lineage_of(session, name, version)) | vars(done)

    return once.answer(caller.name, work)


@router.post(
    f"{VERSION}/rerun",
    tags=["models"],
    status_code=201,
    summary="Run the studies of a model version again",
)
def rerun(
    name: Name, version: Version, caller: Submitter, services: Held, once: Idempotent
) -> Response:
    """Run just its jobs again, with the versions that are active now; return the batches.

    Workers write their studies, as they do those of a scan: a batch is `scanning` until all are.
    """

    def work(session: Session) -> dict[str, Any]:
        made = reruns.rerun(session, name, version, by=caller.name, lane=services.settings.lane)
        return {"batches": [str(one) for one in made]}

    return once.answer(caller.name, work, status=201)


@router.get(
    f"{VERSION}/shadow",
    tags=["models"],
    summary="Say how a candidate agrees with the active version",
    dependencies=[READ],
)
def shadow_report(name: Name, version: Version, services: Held) -> ShadowReport:
    """Return its agreement with what was delivered, and the studies that differ most."""
    with reading(services.sessions) as session:
        return shadows.report(session, name, version)


@router.post(
    f"{VERSION}/shadow",
    tags=["models"],
    summary="Let a candidate run beside the active version, or no longer",
    response_model=ShadowReport,
)
def shadow(
    name: Name, version: Version, request: ShadowRequest, caller: Trainer, once: Idempotent
) -> Response:
    """Nothing that it says is delivered; how it differs is kept."""

    def work(session: Session) -> dict[str, Any]:
        shadows.switch(session, name, version, on=request.on, by=caller.name)
        return vars(shadows.report(session, name, version))

    return once.answer(caller.name, work)


@router.get(
    "/snapshots", tags=["trainings"], summary="List snapshots, newest first", dependencies=[READ]
)
def snapshots(services: Held, limit: Limit = 50, cursor: Cursor = None) -> Page[SnapshotRow]:
    """Return one page."""
    with reading(services.sessions) as session:
        return listing.snapshots(session, limit=limit, cursor=cursor)


@router.get(
    "/snapshots/{digest}", tags=["trainings"], summary="Show one snapshot", dependencies=[READ]
)
def snapshot(digest: Digest, services: Held) -> SnapshotRow:
    """Return how many cases it holds, by part."""
    return _snapshot(services, digest)


@router.get(
    "/snapshots/{digest}/cases",
    tags=["trainings"],
    summary="Fetch the cases of a snapshot by their digests",
    responses={200: {"content": {"application/json": {}}}},
    response_class=Response,
    dependencies=[READ],
)
def cases(digest: Digest, services: Held) -> Response:
    """Return the list as it was kept: sha256 of each case, its part, a pseudonym."""
    found = _snapshot(services, digest)
    return _send(services, f"cases-{digest[:12]}.json", "application/json", found.sha256)


def _snapshot(services: Services, digest: str) -> SnapshotRow:
    with reading(services.sessions) as session:
        found = listing.snapshot(session, digest)
    if found is None:
        raise Problem(Kind.NOT_FOUND, "There is no such snapshot.")
    return found


def _send(services: Services, name: str, media_type: str, sha256: str) -> Response:
    """Return a file of the store."""
    place = services.settings.store_path / "blobs" / sha256[:2] / sha256
    try:
        size = place.stat().st_size
    except OSError as gone:
        raise Problem(Kind.ARTIFACT_GONE) from gone
    row = ArtifactRow(name=name, kind="kept", media_type=media_type, sha256=sha256, size=size)
    return results.send_artifact(services.settings.store_path, row)
