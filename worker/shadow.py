"""Candidates beside the active version: after a job has ended, they say what they would have said.

Nothing of it is delivered: it has a table of its own, and no artifact. The job has ended before
it begins, so nothing that happens here can cost the job anything.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import structlog

from pipeline.agreement import agreement
from pipeline.analysis import Analysis
from pipeline.answers import StudyResult
from pipeline.errors import DeadlineExceeded, Interrupted, PipelineError
from pipeline.reasons import Reason
from pipeline.study import analyze
from pipeline.volume import Input
from records import shadows
from records.database import reading, unit_of_work
from records.orders import BoundModel, JobOrder
from records.shadows import NewShadowRun
from worker import sharing, writing
from worker.services import Services

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """What a job read and said, once it is recorded."""

    order: JobOrder
    analysis: Analysis
    inputs: Mapping[str, list[Input]] = field(repr=False)
    result: StudyResult = field(repr=False)


def run(delivered: Delivered, services: Services) -> None:
    """Run every candidate that is to run beside the models of this job, and keep how it differs.

    Raises:
        Interrupted: this process takes nothing new; what was not begun is left out.

    """
    with reading(services.sessions) as session:
        every = shadows.beside(session, delivered.order.models)
    for bound in every:
        began = time.monotonic()
        try:
            said = _analyze(delivered, bound, services)
        except Interrupted:
            raise
        except (PipelineError, MemoryError) as error:
            runs = _without_answer(delivered, bound, error)
        else:
            runs = _runs(delivered, bound, said, time.monotonic() - began)
        with unit_of_work(services.sessions) as session:
            shadows.record(session, runs)
        log.info("shadow.ran", steps=sorted(bound), reason=runs[0].reason if runs else None)


def _analyze(
    delivered: Delivered, bound: Mapping[str, BoundModel], services: Services
) -> StudyResult:
    """Run the whole analysis with the candidate in its steps: later steps see what it found."""
    analysis, order = delivered.analysis, delivered.order
    seconds = min(services.settings.job_deadline.total_seconds(), analysis.limits.deadline_s)
    deadline = math.inf  # counted from its turn

    def checkpoint() -> None:
        services.flights.note_heard()  # a watchdog must not take this for idleness
        if services.flights.is_closing:
            raise Interrupted("this process takes nothing new")
        if time.monotonic() > deadline:
            raise DeadlineExceeded("the candidate took longer than the analysis allows")

    with (
        services.gate.enter(
            alone=False,
            checkpoint=checkpoint,
            yields=partial(sharing.is_to_yield, order.queue, services.settings),
        ),
        services.flights.watch(order.job_id, seconds) as until,
        services.models.use({**order.models, **bound}) as used,
    ):
        deadline = until
        return analyze(
            analysis,
            delivered.inputs,
            used.predictors,
            checkpoint=checkpoint,
            clock=time.monotonic,
        )


def _runs(
    delivered: Delivered, bound: Mapping[str, BoundModel], said: StudyResult, seconds: float
) -> list[NewShadowRun]:
    order = replace(delivered.order, models={**delivered.order.models, **bound})
    rows = [_plain(asdict(row)) for row in writing.results(said, order)]
    return [
        NewShadowRun(
            job_id=order.job_id,
            step=step,
            model_version_id=model.id,
            results=[row for row in rows if row["step"] == step],
            agreement=agreement(delivered.result.of(step), said.of(step)),
            seconds=seconds / len(bound),
        )
        for step, model in bound.items()
    ]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of results as JSON values; whose it is stands beside it."""
    return {name: value for name, value in row.items() if name != "model_version_id"}


def _without_answer(
    delivered: Delivered, bound: Mapping[str, BoundModel], error: PipelineError | MemoryError
) -> list[NewShadowRun]:
    reason = error.reason if isinstance(error, PipelineError) else Reason.RUN_OUT_OF_MEMORY
    return [
        NewShadowRun(
            job_id=delivered.order.job_id, step=step, model_version_id=model.id, reason=reason
        )
        for step, model in bound.items()
    ]
