"""The use case of the desk: scan a batch's source, plan every study, write the rows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from pipeline.analysis import Analysis, from_document
from pipeline.dicom.headers.instance import InstanceHeader
from pipeline.dicom.limits import HeaderLimits
from pipeline.dicom.scan import IndexBusy, ScannedFile, ScanReport, scan
from pipeline.dicom.series.grouping import IndexedSeries, IndexedStudy
from pipeline.errors import Interrupted, PipelineError
from pipeline.planning import PlannedAnalysis, plan_study
from pipeline.reasons import Reason
from records import analyses, batches, models
from records.base import BatchStatus
from records.database import reading, unit_of_work
from records.leases import Fenced
from records.tables import Batch
from worker import dispatch, scan_indexes
from worker.flights import Flight, Stop
from worker.outcomes import outcome_of
from worker.scan_progress import Progress
from worker.services import Services

log = structlog.get_logger(__name__)

T = TypeVar("T")

#: studies and loose files written in one transaction
CHUNK: Final = 50
FILES_CHUNK: Final = 1000


class CannotPlan(PipelineError):
    """The batch as a whole cannot be planned."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a batch asks for: a source, analyses with the ids of their rows, models by name."""

    source: str
    analyses: Sequence[Analysis]
    analysis_ids: Mapping[str, UUID]
    model_ids: Mapping[str, UUID]
    max_attempts: int


def claim(batch_id: UUID, services: Services) -> Flight | None:
    """Take the scan of a batch. None: somebody has it, it ended, or this process closes."""
    services.flights.note_heard()
    if services.flights.is_closing:
        return None
    asked, length = time.monotonic(), services.settings.lease
    with unit_of_work(services.sessions) as session:
        lease = batches.claim_scan(session, batch_id, owner=services.owner, lease=length)
    if lease is None:
        return None
    return Flight(lease, release=batches.release_scan, length=length, claimed=asked)


def carry(flight: Flight, services: Services) -> None:
    """Scan and plan a claimed batch, a chunk of studies at a time; jobs may run meanwhile.

    Raises:
        PipelineError: the source or the request as a whole is refused.
        Fenced: the batch is no longer ours, or was canceled.

    """
    with reading(services.sessions) as session:
        batch = session.get_one(Batch, flight.lease.id)
        request = _request(session, batch, services)
    scan_indexes.sweep(services)
    with (
        scan_indexes.kept(flight.lease.id, services.settings) as index,
        _scanned(request.source, index, flight, services) as report,
    ):
        if report.refusal is not None:
            reason, sentence = report.refusal
            _record_loose_files(report, flight, services)
            raise CannotPlan(sentence, reason)
        _record_studies(report, request, flight, services)
        _record_loose_files(report, flight, services)
        with unit_of_work(services.sessions) as session:
            batches.finish_plan(session, flight.lease)
        log.info("batch.planned", files=report.total, studies=report.count_studies())
    scan_indexes.drop(flight.lease.id, services.settings)


def settle(error: Exception, flight: Flight, services: Services) -> None:
    """Record the end of a scan that raised ``error``. The error goes no further."""
    if isinstance(error, Fenced) or flight.stop is Stop.LOST:
        log.warning("scan.fenced")
        return
    with unit_of_work(services.sessions) as session:
        if isinstance(error, Interrupted):
            batches.release_scan(session, flight.lease)
            return
        outcome = outcome_of(error)
        status = batches.fail_scan(
            session,
            flight.lease,
            reason=outcome.reason,
            detail=outcome.detail,
            retry=outcome.retry and not isinstance(error, PipelineError),
        )
    if status is BatchStatus.FAILED:
        scan_indexes.drop(flight.lease.id, services.settings)
    log.warning("scan.failed", reason=outcome.reason, exc_info=error)


def _request(session: Session, batch: Batch, services: Services) -> Request:
    """Resolve the names a batch asks for; no names stand for every analysis run by default.

    Raises:
        CannotPlan: an analysis or the active version of a model is missing.

    """
    try:
        rows = [analyses.resolve(session, name) for name in batch.analyses]
    except analyses.AnalysisMissing as missing:
        raise CannotPlan(str(missing), Reason.SELECTION_NO_ANALYSIS) from missing
    rows = rows or list(analyses.newest(session))
    parsed = [from_document(row.document) for row in rows]
    if not batch.analyses:
        parsed = [one for one in parsed if one.by_default]
    if not parsed:
        raise CannotPlan("no analysis is registered", Reason.SELECTION_NO_ANALYSIS)
    model_ids = _bind(session, parsed)
    runnable = _runnable(parsed, model_ids, all_asked=not batch.analyses)
    return Request(
        source=batch.source,
        analyses=runnable,
        analysis_ids={row.name: row.id for row in rows},
        model_ids=model_ids,
        max_attempts=services.settings.max_attempts,
    )


def _bind(session: Session, wanted: Sequence[Analysis]) -> dict[str, UUID]:
    """Return the active version of every model that the analyses name and that has one."""
    ids: dict[str, UUID] = {}
    for name in sorted({step.model for analysis in wanted for step in analysis.steps}):
        version = models.active(session, name)
        if version is not None:
            ids[name] = version.id
    return ids


def _runnable(
    asked: Sequence[Analysis], model_ids: Mapping[str, UUID], *, all_asked: bool
) -> list[Analysis]:
    """Return the analyses whose models are all active.

    Who asks for all gets those that can run: a demonstration that was retired is no fault. Who
    names one is told.

    Raises:
        CannotPlan: a named analysis cannot run, or none of all can.

    """
    runnable = [one for one in asked if all(step.model in model_ids for step in one.steps)]
    missing = sorted({step.model for one in asked for step in one.steps} - set(model_ids))
    if missing and (not all_asked or not runnable):
        sentence = f"no active version of {', '.join(missing)}"
        raise CannotPlan(sentence, Reason.MODEL_UNAVAILABLE)
    if missing:
        log.warning("scan.analyses_left_out", models=missing)
    return runnable


def _scanned(source: str, index: Path, flight: Flight, services: Services) -> ScanReport:
    """Scan into the index of the batch, or into none where another process is still at it."""
    progress = Progress(flight, services)
    limits = HeaderLimits(pixels=services.settings.max_pixels)
    ask = partial(scan, source, on_progress=progress.note_files, limits=limits, now=time.time_ns())
    try:
        report = ask(index=index)
    except IndexBusy:
        # Its lease has run out and it will find so; its index is of no use until then.
        log.warning("scan.index_busy")
        report = ask()
    progress.finish_files(report.total, report.count_studies())
    return report


def _record_studies(
    report: ScanReport, request: Request, flight: Flight, services: Services
) -> None:
    """Plan and write the studies, as many at a time as fit a transaction."""
    planned: list[batches.PlannedStudy] = []
    for study in report.studies():
        flight.checkpoint()
        planned.append(_planned(study, report, request))
        files = sum(len(series.files) for one in planned for series in one.series)
        if len(planned) == CHUNK or files >= FILES_CHUNK:
            _write(planned, flight, services)
            planned = []
    _write(planned, flight, services)


def _write(planned: Sequence[batches.PlannedStudy], flight: Flight, services: Services) -> None:
    with unit_of_work(services.sessions) as session:
        batches.record_studies(session, flight.lease, planned)
    dispatch.dispatch_jobs(services)


def _record_loose_files(report: ScanReport, flight: Flight, services: Services) -> None:
    """Write the files that belong to no series, each with its verdict."""
    for chunk in _chunks(map(_file, report.loose_files()), FILES_CHUNK):
        flight.checkpoint()
        with unit_of_work(services.sessions) as session:
            batches.record_studies(session, flight.lease, [], chunk)


def _planned(study: IndexedStudy, report: ScanReport, request: Request) -> batches.PlannedStudy:
    return batches.PlannedStudy(
        study_instance_uid=study.study_instance_uid,
        series=[_series(series, report) for series in study.series],
        jobs=[_job(planned, request) for planned in plan_study(study, request.analyses)],
    )


def _series(series: IndexedSeries, report: ScanReport) -> batches.PlannedSeries:
    # a file belongs to one row: the first of the parts that a multi-frame instance makes
    has_files = not series.frame_part
    return batches.PlannedSeries(
        series_instance_uid=series.series_instance_uid,
        part=series.part,
        modality=series.modality,
        sop_class_uid=series.sop_class_uid,
        verdict=series.verdict.value,
        detail=series.detail,
        attributes=series.attributes,
        instances=len(series.instances),
        files=[_accepted(one) for one in series.instances] if has_files else [],
        headers=report.headers_of(series) if has_files else None,
    )


def _accepted(header: InstanceHeader) -> batches.ScannedFile:
    return batches.ScannedFile(
        path=header.path,
        size=header.size,
        verdict=Reason.OK.value,
        detail=None,
        sop_instance_uid=header.sop_instance_uid,
    )


def _file(file: ScannedFile) -> batches.ScannedFile:
    return batches.ScannedFile(
        path=file.path,
        size=file.size,
        verdict=file.verdict.value,
        detail=file.detail,
        sop_instance_uid=file.sop_instance_uid,
    )


def _job(planned: PlannedAnalysis, request: Request) -> batches.PlannedJob:
    rejected = planned.rejected
    return batches.PlannedJob(
        analysis_id=request.analysis_ids[planned.analysis.name],
        plan=planned.plan,
        models={step.name: request.model_ids[step.model] for step in planned.analysis.steps},
        max_attempts=request.max_attempts,
        rejected=None if rejected is None else (rejected[0].value, rejected[1]),
    )


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
