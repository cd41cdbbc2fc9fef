"""Which answers a model was least sure of: what a person should label next."""

from __future__ import annotations

import heapq
import itertools
import math
import operator
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, or_, select
from sqlalchemy.orm import Session

from records.base import JobStatus
from records.tables import Analysis, Correction, Job, Result, Study

#: the measurements of answers that state how unsure they are, in bit
_STATED: Final = ("predictive entropy", "mean entropy of ")
#: the columns that say it, and whose answer it is
_READ: Final = (
    Result.job_id,
    Result.step,
    Result.series_instance_uid,
    Study.study_instance_uid,
    Result.kind,
    Result.label,
    Result.value,
    Result.score,
)
#: the rows that say it
_TELLS: Final = or_(
    Result.kind.in_(("classification", "detection")) & Result.score.is_not(None),
    (Result.kind == "measurement") & or_(*(Result.label.startswith(word) for word in _STATED)),
)
_ROWS_AT_ONCE: Final = 2000


@dataclass(frozen=True, kw_only=True)
class UncertainCase:
    """One answer of one step about one series, and how unsure it is."""

    job: uuid.UUID
    study: str
    series: str
    step: str
    #: bit; 0 is certain, 1 a coin
    entropy: float
    #: ``stated`` by the model, or reckoned from its ``scores``
    source: str


def uncertain(session: Session, analysis: str, *, most: int) -> list[UncertainCase]:
    """Return the answers of the greatest entropy that nobody has looked at, most unsure first.

    Args:
        session: to read by.
        analysis: name of the analysis.
        most: how many.

    """
    return heapq.nlargest(most, _cases(session, analysis), key=lambda case: case.entropy)


def _cases(session: Session, analysis: str) -> Iterator[UncertainCase]:
    is_seen = select(Correction.id).where(Correction.job_id == Job.id).exists()
    # of millions of rows nothing but what is reckoned with: no payload, no object for each
    query = (
        select(*_READ)
        .join(Job, Job.id == Result.job_id)
        .join(Study, Study.id == Job.study_id)
        .join(Analysis, Analysis.id == Job.analysis_id)
        .where(
            Analysis.name == analysis,
            Job.status == JobStatus.SUCCEEDED,
            Result.series_instance_uid.is_not(None),
            ~is_seen,
            _TELLS,
        )
        .order_by(Result.job_id, Result.step, Result.series_instance_uid)
        .execution_options(yield_per=_ROWS_AT_ONCE)
    )
    by_answer = operator.attrgetter("job_id", "step", "series_instance_uid", "study_instance_uid")
    for (job, step, series, study), group in itertools.groupby(
        session.execute(query), key=by_answer
    ):
        found = _entropy(list(group))
        if found is not None:
            entropy, source = found
            yield UncertainCase(
                job=job,
                study=study,
                series=series,
                step=step,
                entropy=round(entropy, 6),
                source=source,
            )


def _entropy(results: Sequence[Row[*tuple[Any, ...]]]) -> tuple[float, str] | None:
    """Return how unsure an answer is, and how that is known; None where it is not."""
    stated = [
        result.value
        for result in results
        if result.kind == "measurement"
        and result.value is not None
        and result.label.startswith(_STATED)
    ]
    if stated:
        return max(stated), "stated"
    scores = [
        row.score for row in results if row.kind == "classification" and row.score is not None
    ]
    if len(scores) > 1 and math.isclose(sum(scores), 1.0, abs_tol=0.01):
        return _bits(scores), "scores"
    scores += [row.score for row in results if row.kind == "detection" and row.score is not None]
    if scores:  # each of them is a yes or a no of its own
        return max(_bits((score, 1.0 - score)) for score in scores), "scores"
    return None


def _bits(shares: Iterable[float]) -> float:
    return -sum(share * math.log2(share) for share in shares if 0.0 < share < 1.0) + 0.0
