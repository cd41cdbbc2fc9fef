"""Results as rows of one table, in an order that is the same on every database and every run."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from records.listing.paging import AnyRow
from records.standing import Standing, standings
from records.tables import Analysis, Job, ModelVersion, Result, Study

#: the columns of results.csv, in order
COLUMNS: Final = (
    "batch",
    "job",
    "study",
    "series",
    "analysis",
    "model",
    "version",
    "digest",
    "kind",
    "label",
    "code",
    "value",
    "unit",
    "score",
    "standing",
)
#: a cell that starts with one of these is a formula to spreadsheet programs
_FORMULA_STARTS: Final = frozenset("=+-@\t\r\n")
#: jobs whose results are fetched by one query: under the 999 parameters of old SQLite builds
JOBS_PER_QUERY: Final = 500


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """One statement of one job. ``version`` and ``digest`` are those of the model."""

    batch: uuid.UUID
    job: uuid.UUID
    study: str
    series: str | None
    analysis: str
    model: str
    version: str
    digest: str
    kind: str
    label: str
    code: str | None
    value: float | None
    unit: str | None
    score: float | None
    #: whether it counts: ``records.standing``
    standing: Standing
    step: str
    ordinal: int
    #: box, centroid ... in mm, patient space (LPS)
    payload: dict[str, Any]

    def cells(self) -> list[str]:
        """Return the row of results.csv, one text per column of ``COLUMNS``; none is a formula."""
        return [_text(name, getattr(self, name)) for name in COLUMNS]


def result_rows(session: Session, batch_id: uuid.UUID) -> Iterator[ResultRow]:
    """Yield the results of a batch by study, analysis, step, series and ordinal."""
    ids = ordered_jobs(session, batch_id)
    for start in range(0, len(ids), JOBS_PER_QUERY):
        yield from results_of(session, ids[start : start + JOBS_PER_QUERY])


def ordered_jobs(session: Session, batch_id: uuid.UUID) -> list[uuid.UUID]:
    """Return the jobs of a batch in the order of its results.

    Sorted here, not by the database: PostgreSQL's collation skips the dots of UIDs.
    """
    query = (
        select(Study.study_instance_uid, Analysis.name, Analysis.version, Job.id)
        .join(Study, Study.id == Job.study_id)
        .join(Analysis, Analysis.id == Job.analysis_id)
        .where(Job.batch_id == batch_id)
    )
    return [job_id for *_, job_id in sorted(session.execute(query).all())]


def results_of(session: Session, job_ids: Sequence[uuid.UUID]) -> list[ResultRow]:
    """Return the results of up to ``JOBS_PER_QUERY`` jobs, in the order of ``job_ids``."""
    place = {job_id: index for index, job_id in enumerate(job_ids)}
    query = (
        select(Result, Job.batch_id, Study.study_instance_uid, Job.analysis_id, ModelVersion)
        .join(Job, Job.id == Result.job_id)
        .join(Study, Study.id == Job.study_id)
        .join(ModelVersion, ModelVersion.id == Result.model_version_id)
        .where(Result.job_id.in_(job_ids))
    )
    rows = session.execute(query).all()
    standing = standings(session, job_ids)
    analyses = _analyses(session, {row.analysis_id for row in rows})
    steps = {key: _step_order(found) for key, found in analyses.items()}

    def key(row: AnyRow) -> tuple[int, int, str, str, int]:
        result: Result = row.Result
        step = steps[row.analysis_id].get(result.step, len(steps[row.analysis_id]))
        series = result.series_instance_uid or ""
        return place[result.job_id], step, result.step, series, result.ordinal

    return [
        _row(row, analyses[row.analysis_id].name, standing[row.Result.job_id])
        for row in sorted(rows, key=key)
    ]


def _analyses(session: Session, ids: set[uuid.UUID]) -> dict[uuid.UUID, Analysis]:
    rows = session.scalars(select(Analysis).where(Analysis.id.in_(ids)))
    return {row.id: row for row in rows}


def _step_order(analysis: Analysis) -> dict[str, int]:
    steps = analysis.document.get("steps", [])
    names = (str(step.get("name")) for step in steps if isinstance(step, dict))
    return dict(zip(names, itertools.count(), strict=False))


def _row(row: AnyRow, analysis: str, standing: Standing) -> ResultRow:
    result: Result = row.Result
    model: ModelVersion = row.ModelVersion
    return ResultRow(
        batch=row.batch_id,
        job=result.job_id,
        study=row.study_instance_uid,
        series=result.series_instance_uid,
        analysis=analysis,
        model=model.name,
        version=model.version,
        digest=model.digest,
        kind=result.kind,
        label=result.label,
        code=result.code,
        value=result.value,
        unit=result.unit,
        score=result.score,
        standing=standing,
        step=result.step,
        ordinal=result.ordinal,
        payload=result.payload,
    )


def _text(name: str, value: object) -> str:
    if value is None:
        return ""
    if name == "value":
        return f"{value:.6g}"
    if name == "score":
        return f"{value:.4f}"
    return plain_cell(str(value))


def plain_cell(text: str) -> str:
    """Return ``text`` so that no spreadsheet runs it: formulas get a leading apostrophe.

    For columns of text (CWE-1236). Numbers are written as they are: -5 stays a number.
    """
    return f"'{text}" if text[:1] in _FORMULA_STARTS else text
