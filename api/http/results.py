"""Results and artifacts as streams: a slow reader holds no database connection."""

from __future__ import annotations

import csv
import io
import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import orjson
from starlette.responses import Response, StreamingResponse

from api.http.access import Caller
from api.http.problems import Kind, Problem
from api.http.services import Services
from records import audit
from records.database import reading, unit_of_work
from records.listing import COLUMNS, ArtifactRow, ResultRow, results_of

_CHUNK: Final = 256 * 2**10
_JOBS_AT_A_TIME: Final = 200
#: What a browser may be told a file is. Anything else is bytes: never HTML, SVG or a program.
_PLAIN_TYPES: Final = frozenset(
    {
        "application/dicom",
        "application/json",
        "application/octet-stream",
        "image/jpeg",
        "image/png",
        "image/webp",
        "text/csv",
        "text/plain",
    }
)


def stream(
    services: Services, job_ids: Sequence[uuid.UUID], *, form: Literal["json", "csv"], name: str
) -> Response:
    """Return the results of the jobs, in their order, as one JSON array or one CSV table."""
    chunks = _rows(services, job_ids)
    body = _as_csv(chunks) if form == "csv" else _as_json(chunks)
    media_type = "text/csv; charset=utf-8; header=present" if form == "csv" else "application/json"
    headers = {"Content-Disposition": f'attachment; filename="{name}.{form}"'}
    return StreamingResponse(body, 200, headers, media_type)


def send_artifact(root: Path, row: ArtifactRow) -> Response:
    """Return the bytes of an artifact from the store under ``root``.

    Raises:
        Problem: the file is gone from the store, or is not what was recorded (410).

    """
    path = root / "blobs" / row.sha256[:2] / row.sha256
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise Problem(Kind.ARTIFACT_GONE) from error
    if os.fstat(descriptor).st_size != row.size:
        os.close(descriptor)
        raise Problem(Kind.ARTIFACT_GONE, "The file in the store is not the one that was written.")
    media_type = row.media_type if row.media_type in _PLAIN_TYPES else "application/octet-stream"
    headers = {
        "Content-Length": str(row.size),
        "Content-Disposition": f'attachment; filename="{_file_name(row.name)}"',
        "ETag": f'"{row.sha256}"',
    }
    return StreamingResponse(_bytes(descriptor), 200, headers, media_type)


def note_export(services: Services, caller: Caller, kind: str, row: object) -> None:
    """Leave an audit record that somebody took results out."""
    with unit_of_work(services.sessions) as session:
        audit.append(
            session,
            event_id="results.read",
            action="R",
            by=caller.name,
            object_type=kind,
            object_id=row,
        )


def _rows(services: Services, job_ids: Sequence[uuid.UUID]) -> Iterator[list[ResultRow]]:
    for start in range(0, len(job_ids), _JOBS_AT_A_TIME):
        with reading(services.sessions) as session:
            rows = results_of(session, job_ids[start : start + _JOBS_AT_A_TIME])
        yield rows


def _as_json(chunks: Iterator[list[ResultRow]]) -> Iterator[bytes]:
    yield b"["
    between = b"\n"
    for rows in chunks:
        parts = [orjson.dumps(_plain(row)) for row in rows]
        if parts:
            yield between + b",\n".join(parts)
            between = b",\n"
    yield b"\n]\n"


def _plain(row: ResultRow) -> dict[str, Any]:
    return vars(row)


def _as_csv(chunks: Iterator[list[ResultRow]]) -> Iterator[bytes]:
    yield _lines([list(COLUMNS)])
    for rows in chunks:
        yield _lines([row.cells() for row in rows])


def _lines(rows: list[list[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _file_name(name: str) -> str:
    """Return a name that can do no harm in a header or in a folder of downloads."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)
    return safe.lstrip(".") or "artifact"


def _bytes(descriptor: int) -> Iterator[bytes]:
    with os.fdopen(descriptor, "rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
