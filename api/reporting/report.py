"""report.html: one page to look at, complete in itself, that asks nothing of any network."""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from sqlalchemy.orm import Session, sessionmaker

from api.reporting.cards import Card, card_of, score_text
from api.reporting.cells import visible
from api.reporting.files import replacing
from api.reporting.pictures import Album
from api.reporting.rows import jobs
from api.reporting.skipped import Group

#: jobs in the page; the tables have all
MOST_JOBS: Final = 500
#: bytes of pictures inside the page, before base64; the rest is read from studies/
PICTURE_BUDGET: Final = 10 * 2**20
_HERE: Final = Path(__file__).parent


def write_report(
    sessions: sessionmaker[Session],
    store: Path,
    summary: dict[str, Any],
    groups: Sequence[Group],
    out: Path,
) -> None:
    """Write report.html into ``out``, job by job: the page is never in memory as a whole."""
    album = Album(store, PICTURE_BUDGET)
    batch_id = uuid.UUID(summary["batch"])

    def cards() -> Iterator[Card]:
        for job in jobs(sessions, batch_id, most=MOST_JOBS):
            yield card_of(job, album)

    script = (_HERE / "report.js").read_text(encoding="utf-8")
    stream = (
        _environment()
        .get_template("report.html")
        .stream(
            summary=summary,
            groups=groups,
            cards=cards(),
            album=album,
            most_jobs=MOST_JOBS,
            job_count=sum(summary["jobs"].values()),
            style=(_HERE / "report.css").read_text(encoding="utf-8"),
            script=script,
            script_hash=_digest(script),
        )
    )
    stream.enable_buffering(64)
    with replacing(out / "report.html") as file:
        file.writelines(stream)


def _environment() -> Environment:
    """Return the templates. Everything is escaped; what is missing is an error."""
    environment = Environment(
        loader=PackageLoader("api.reporting", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    environment.filters["duration"] = duration
    environment.filters["score"] = score_text
    environment.filters["count"] = lambda number: f"{number:,}"
    return environment


def duration(seconds: float | None) -> str:
    """Return a time for people: 0.42 s, 37 s, 12 min 05 s, 3 h 20 min."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 90:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _digest(script: str) -> str:
    """Return the hash by which the page's policy lets its own script run, and no other."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
