"""skipped.csv: every file, series and study that was not analysed, and why."""

from __future__ import annotations

import csv
import itertools
import uuid
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session, sessionmaker

from api.reporting.files import replacing
from records.base import JobStatus
from records.database import reading
from records.listing.results import plain_cell
from records.tables import Batch, File, Job, Series, Study

#: a readable series that no analysis of its study chose
NOT_CHOSEN: Final = "selection.not_chosen"
COLUMNS: Final = ("path", "reason", "sentence", "what", "study", "series")
EXAMPLES: Final = 12
_CHUNK: Final = 5000
_SERIES_CHUNK: Final = 500
_ENDED_WITHOUT: Final = (JobStatus.REJECTED, JobStatus.FAILED, JobStatus.CANCELED)


@dataclass(frozen=True, slots=True)
class Skipped:
    """One thing without a result. ``path`` is relative to the source; of a series, its folder."""

    path: str
    reason: str
    sentence: str
    #: 'file', 'series' or 'study'
    what: str
    study: str = ""
    series: str = ""


@dataclass(slots=True)
class Group:
    """All that was skipped for one reason, with the first few as examples."""

    reason: str
    what: str
    sentence: str
    count: int = 0
    examples: list[Skipped] = field(default_factory=list)


def write_skipped(sessions: sessionmaker[Session], batch_id: uuid.UUID, out: Path) -> list[Group]:
    """Write skipped.csv into ``out`` and return its rows in groups, the largest first."""
    groups: dict[tuple[str, str], Group] = {}
    with replacing(out / "skipped.csv") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in skipped(sessions, batch_id):
            writer.writerow([plain_cell(cell) for cell in astuple(row)])
            key = (row.what, row.reason)
            group = groups.setdefault(key, Group(row.reason, row.what, row.sentence))
            group.count += 1
            if len(group.examples) < EXAMPLES:
                group.examples.append(row)
    return sorted(groups.values(), key=lambda group: (-group.count, group.reason, group.what))


def skipped(sessions: sessionmaker[Session], batch_id: uuid.UUID) -> Iterator[Skipped]:
    """Yield files by place in the scan, then series, then studies by UID."""
    yield from _source(sessions, batch_id)
    yield from _files(sessions, batch_id)
    with reading(sessions) as session:
        plans = _Plans.of(session, batch_id)
        series = _series(session, batch_id, plans)
    yield from series
    yield from plans.studies


def _source(sessions: sessionmaker[Session], batch_id: uuid.UUID) -> Iterator[Skipped]:
    """Yield the source itself, where the whole of it was refused."""
    with reading(sessions) as session:
        batch = session.get(Batch, batch_id)
    if batch is not None and batch.reason:
        yield Skipped("", batch.reason, batch.detail or "", "source")


def _files(sessions: sessionmaker[Session], batch_id: uuid.UUID) -> Iterator[Skipped]:
    after = 0
    while True:
        query = (
            select(
                File.id,
                File.path,
                File.verdict,
                File.detail,
                Series.series_instance_uid,
                Study.study_instance_uid,
            )
            .outerjoin(Series, Series.id == File.series_id)
            .outerjoin(Study, Study.id == Series.study_id)
            .where(File.batch_id == batch_id, File.verdict != "ok", File.id > after)
            .order_by(File.id)
            .limit(_CHUNK)
        )
        with reading(sessions) as session:
            rows = session.execute(query).all()
        for number, path, verdict, detail, series, study in rows:
            yield Skipped(path, verdict, detail or "", "file", study or "", series or "")
            after = number
        if len(rows) < _CHUNK:
            return


@dataclass
class _Plans:
    """What the jobs of a batch say of its series and studies."""

    #: (study, series, part) that some job chose
    chosen: set[tuple[str, str, int]] = field(default_factory=set)
    #: (study, series, part) -> why the first job that looked did not choose it
    because: dict[tuple[str, str, int], str] = field(default_factory=dict)
    #: jobs that ended without a result
    studies: list[Skipped] = field(default_factory=list)

    @classmethod
    def of(cls, session: Session, batch_id: uuid.UUID) -> _Plans:
        found = cls()
        query = (
            select(Study.study_instance_uid, Job.status, Job.reason, Job.detail, Job.plan)
            .join(Study, Study.id == Job.study_id)
            .where(Job.batch_id == batch_id)
            .execution_options(yield_per=500)
        )
        for study, status, reason, detail, plan in session.execute(query):
            chosen = found._add_plan(study, plan)
            if status in _ENDED_WITHOUT:
                code = reason or f"run.{'canceled' if status is JobStatus.CANCELED else 'error'}"
                series = " ".join(sorted({uid for _, uid, _ in chosen}))
                found.studies.append(Skipped("", code, detail or "", "study", study, series))
        found.studies.sort(key=lambda one: (one.study, one.reason, one.series, one.sentence))
        return found

    def _add_plan(self, study: str, plan: dict[str, Any]) -> list[tuple[str, str, int]]:
        """Note what a plan chose and why not the rest; return what it chose."""
        chosen = []
        for selection in plan.get("inputs", {}).values():
            chosen += [_key(study, one) for one in selection.get("chosen", ())]
            for one in selection.get("considered", ()):
                self.because.setdefault(_key(study, one), str(one.get("because", "")))
        self.chosen.update(chosen)
        return chosen


def _key(study: str, one: dict[str, Any]) -> tuple[str, str, int]:
    return study, str(one.get("series_instance_uid")), int(one.get("part", 0))


def _series(session: Session, batch_id: uuid.UUID, plans: _Plans) -> list[Skipped]:
    """Return refused series, and readable ones that no job chose."""
    query = (
        select(Series, Study.study_instance_uid)
        .join(Study, Study.id == Series.study_id)
        .where(Study.batch_id == batch_id)
        .execution_options(yield_per=500)
    )
    found: list[tuple[uuid.UUID, Skipped]] = []
    for series, study in session.execute(query):
        key = (study, series.series_instance_uid, series.part)
        if series.verdict != "ok":
            reason, sentence = series.verdict, series.detail or ""
        elif key not in plans.chosen:
            reason = NOT_CHOSEN
            sentence = plans.because.get(key) or "no analysis takes such a series"
        else:
            continue
        row = Skipped("", reason, sentence, "series", study, series.series_instance_uid)
        found.append((series.id, row))
    folders = _folders(session, [series_id for series_id, _ in found])
    placed = [Skipped(folders.get(series_id, ""), *astuple(row)[1:]) for series_id, row in found]
    return sorted(placed, key=lambda row: (row.study, row.series, row.reason, row.path))


def _folders(session: Session, ids: list[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Return the deepest folder that holds all files of each series."""
    found: dict[uuid.UUID, str] = {}
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    path = File.path if is_sqlite else File.path.collate("C")  # by bytes, or "between" is untrue
    for start in range(0, len(ids), _SERIES_CHUNK):
        chunk = ids[start : start + _SERIES_CHUNK]
        query = (
            select(File.series_id, func.min(path), func.max(path))
            .where(File.series_id.in_(chunk))
            .group_by(File.series_id)
        )
        for series_id, first, last in session.execute(query):
            found[series_id] = _common_folder(first, last)
    return found


def _common_folder(first: str, last: str) -> str:
    """Return the folder two paths share; of the first and last by name, all between share it."""
    parts = zip(first.split("/")[:-1], last.split("/")[:-1], strict=False)
    return "/".join(a for a, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], parts))
