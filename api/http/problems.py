"""Errors as problem+json (RFC 9457) with stable types; no paths, no patient data, no traces."""

from __future__ import annotations

import enum
import logging
import uuid
from collections.abc import Mapping
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from records.corrections import CorrectionRefused
from records.database import DatabaseUnavailable
from records.gates import GateMissing, GateRefused
from records.listing import BadCursor
from records.models import ModelVersionMissing, StageRefused
from records.schedules import CronInvalid, ScheduleMissing, ScheduleTaken, TriggerInvalid
from records.transitions import IllegalTransition, NoSuchRecord

MEDIA_TYPE: Final = "application/problem+json"
_LONGEST_MESSAGE: Final = 200
_MOST_FAULTS: Final = 20

log = logging.getLogger("nightshift.http")


class Kind(enum.StrEnum):
    """The last word of the ``type`` URN. Never renamed: clients compare it."""

    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    SOURCE_REFUSED = "source-refused"
    SOURCE_MISSING = "source-missing"
    UNKNOWN_ANALYSIS = "unknown-analysis"
    NOT_FOUND = "not-found"
    ARTIFACT_GONE = "artifact-gone"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    CONFLICT = "conflict"
    IDEMPOTENCY_CONFLICT = "idempotency-conflict"
    TOO_LARGE = "too-large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type"
    MALFORMED = "malformed"
    INVALID = "invalid"
    BAD_CURSOR = "bad-cursor"
    TOO_MANY_STREAMS = "too-many-streams"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


#: kind -> (status, title)
KINDS: Final[Mapping[Kind, tuple[int, str]]] = {
    Kind.UNAUTHENTICATED: (401, "A valid API key is needed"),
    Kind.FORBIDDEN: (403, "This key may not do that"),
    Kind.SOURCE_REFUSED: (403, "The server does not read from there"),
    Kind.SOURCE_MISSING: (422, "There is nothing at the given place"),
    Kind.UNKNOWN_ANALYSIS: (422, "An analysis of that name is not registered"),
    Kind.NOT_FOUND: (404, "There is no such thing"),
    Kind.ARTIFACT_GONE: (410, "The file is no longer in the store"),
    Kind.METHOD_NOT_ALLOWED: (405, "This method does not apply here"),
    Kind.CONFLICT: (409, "The present state does not allow it"),
    Kind.IDEMPOTENCY_CONFLICT: (409, "The Idempotency-Key was used for another request"),
    Kind.TOO_LARGE: (413, "The request is too large"),
    Kind.UNSUPPORTED_MEDIA_TYPE: (415, "The body must be plain application/json"),
    Kind.MALFORMED: (400, "The request cannot be read"),
    Kind.INVALID: (422, "The request is not valid"),
    Kind.BAD_CURSOR: (400, "The cursor is not valid"),
    Kind.TOO_MANY_STREAMS: (503, "Too many event streams are open"),
    Kind.UNAVAILABLE: (503, "A service this answer needs is not available"),
    Kind.INTERNAL: (500, "The server failed"),
}


#: errors of the records whose sentence is fit for the caller
RECORDS: Final[Mapping[type[Exception], Kind]] = {
    BadCursor: Kind.BAD_CURSOR,
    NoSuchRecord: Kind.NOT_FOUND,
    IllegalTransition: Kind.CONFLICT,
    ModelVersionMissing: Kind.NOT_FOUND,
    StageRefused: Kind.CONFLICT,
    GateMissing: Kind.NOT_FOUND,
    GateRefused: Kind.CONFLICT,
    ScheduleMissing: Kind.NOT_FOUND,
    ScheduleTaken: Kind.CONFLICT,
    CronInvalid: Kind.INVALID,
    TriggerInvalid: Kind.INVALID,
    CorrectionRefused: Kind.INVALID,
}


class Problem(HTTPException):
    """An answer that is an error. ``detail`` is a sentence for the caller."""

    def __init__(
        self,
        kind: Kind,
        detail: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        faults: list[dict[str, str]] | None = None,
    ) -> None:
        status, self.title = KINDS[kind]
        super().__init__(status, detail or self.title, headers)
        self.kind = kind
        self.faults = faults or []


def answer(problem: Problem, scope: Scope) -> Response:
    """Return the response for a problem."""
    body: dict[str, Any] = {
        "type": f"urn:nightshift:problem:{problem.kind}",
        "title": problem.title,
        "status": problem.status_code,
        "detail": problem.detail,
        "instance": f"urn:uuid:{scope.get('nightshift.request', uuid.UUID(int=0))}",
    }
    if problem.faults:
        body["errors"] = problem.faults
    return Response(orjson.dumps(body), problem.status_code, problem.headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Let every error of the app leave as a problem."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(DatabaseUnavailable, _unavailable)
    app.add_exception_handler(NoConnectionFree, _busy)
    for kind in RECORDS:
        app.add_exception_handler(kind, _of_records)


async def _http(request: Request, error: Exception) -> Response:
    return answer(error if isinstance(error, Problem) else _foreign(error), request.scope)


def _foreign(error: Exception) -> Problem:
    """Return the problem for an error of the framework: unknown route, wrong method, bad body."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = getattr(error, "headers", None)
    for kind in (Kind.NOT_FOUND, Kind.METHOD_NOT_ALLOWED, Kind.TOO_LARGE, Kind.INTERNAL):
        if KINDS[kind][0] == status:
            return Problem(kind, headers=headers)
    return Problem(Kind.MALFORMED, headers=headers)


async def _invalid(request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    # "input" repeats what was sent and "ctx" may: both stay here.
    faults = [
        {
            "pointer": "/" + "/".join(str(part)[:_LONGEST_MESSAGE] for part in fault["loc"]),
            "detail": str(fault["msg"])[:_LONGEST_MESSAGE],
        }
        for fault in found[:_MOST_FAULTS]
    ]
    return answer(Problem(Kind.INVALID, faults=faults), request.scope)


async def _unavailable(request: Request, error: Exception) -> Response:
    log.warning("database unavailable: %s", error)
    problem = Problem(Kind.UNAVAILABLE, str(error), headers={"Retry-After": "5"})
    return answer(problem, request.scope)


async def _busy(request: Request, error: Exception) -> Response:
    log.warning("no database connection free: %s", type(error).__name__)
    problem = Problem(Kind.UNAVAILABLE, "The server is busy.", headers={"Retry-After": "5"})
    return answer(problem, request.scope)


async def _of_records(request: Request, error: Exception) -> Response:
    return answer(Problem(RECORDS[type(error)], str(error)), request.scope)
