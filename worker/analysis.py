"""The way of one job: claim, read, predict, write, record. What goes wrong is raised."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from uuid import UUID

import structlog

from pipeline.analysis import Analysis, from_document
from pipeline.answers import StudyResult
from pipeline.dicom.limits import DecodeLimits
from pipeline.dicom.reading import SeriesFiles, read
from pipeline.drift import intensities
from pipeline.study import analyze
from pipeline.volume import Input
from records import jobs, orders
from records.database import reading, unit_of_work
from records.orders import JobOrder
from worker import metrics, sharing, writing
from worker.flights import Flight
from worker.services import Services
from worker.shadow import Delivered
from worker.store import DiskFull
from worker.versions import versions
from worker.warm import Used

log = structlog.get_logger(__name__)


def claim(job_id: UUID, services: Services) -> Flight | None:
    """Take the job. None: somebody has it, it ended, or this machine must not take work now."""
    services.flights.note_heard()
    if services.flights.is_closing:
        return None
    try:
        services.store.require_room()
    except DiskFull as full:
        log.warning("job.not_claimed", why=full.sentence)
        return None
    asked, length = time.monotonic(), services.settings.lease
    with unit_of_work(services.sessions) as session:
        lease = jobs.claim(session, job_id, owner=services.owner, lease=length)
    if lease is None:
        return None
    return Flight(lease, release=jobs.release, length=length, claimed=asked)


def carry(flight: Flight, services: Services) -> Delivered:
    """Do the work of a claimed job, record what it found and return it.

    Raises:
        StudyRejected, ComputeFailed: as the pipeline says; see ``worker.outcomes`` for the rest.
        Fenced: the job is no longer ours, nothing was recorded.

    """
    stages = Stages()
    with stages.measure("order"), reading(services.sessions) as session:
        order = orders.read(session, flight.lease.id)
    with services.gate.enter(
        alone=flight.lease.attempt > 1,
        checkpoint=flight.checkpoint,
        yields=partial(sharing.is_to_yield, order.queue, services.settings),
    ):
        analysis = from_document(order.document)
        deadline = min(services.settings.job_deadline.total_seconds(), analysis.limits.deadline_s)
        flight.limit(deadline)
        with stages.measure("read"):
            inputs = _read(order, analysis, flight, services)
        with ExitStack() as held:
            with stages.measure("model_load"):
                used = held.enter_context(services.models.use(order.models))
            with stages.measure("predict"):
                result = _predict(analysis, inputs, used, flight)
        with stages.measure("write"):
            rows = writing.results(result, order)
            files = writing.artifacts(result, order, analysis.outputs, services.store)
    report = _report(order, inputs, analysis, result, stages, services)
    report["models_loaded"] = sorted(used.loaded)
    flight.checkpoint()
    with stages.measure("record"), unit_of_work(services.sessions) as session:
        jobs.succeed(session, flight.lease, results=rows, artifacts=files, report=report)
    metrics.JOBS.labels(outcome="succeeded", reason="ok").inc()
    log.info("job.succeeded", results=len(rows), artifacts=len(files), seconds=stages.rounded())
    return Delivered(order=order, analysis=analysis, inputs=inputs, result=result)


def _read(
    order: JobOrder, analysis: Analysis, flight: Flight, services: Services
) -> dict[str, list[Input]]:
    """Read every chosen series, each in a child process that may die."""
    settings = services.settings
    limits = DecodeLimits(
        pixels=min(settings.max_pixels, int(analysis.limits.maximum_voxels)),
        memory_bytes=settings.decode_memory_bytes,
        seconds=settings.decode_timeout.total_seconds(),
    )
    inputs: dict[str, list[Input]] = {}
    for name, chosen in order.inputs.items():
        inputs[name] = [
            read(
                SeriesFiles(
                    source=order.source,
                    names=one.paths,
                    study_instance_uid=order.study_instance_uid,
                    series_instance_uid=one.series_instance_uid,
                    frame_part=one.frame_part,
                    headers=one.headers,
                ),
                as_image=analysis.inputs[name].kind == "image",
                policies=analysis.policies,
                limits=limits,
                checkpoint=flight.checkpoint,
            )
            for one in chosen
        ]
    return inputs


def _predict(
    analysis: Analysis, inputs: dict[str, list[Input]], used: Used, flight: Flight
) -> StudyResult:
    """Run the steps on warm models."""
    check, clock = flight.checkpoint, time.monotonic
    return analyze(analysis, inputs, used.predictors, checkpoint=check, clock=clock)


def _report(
    order: JobOrder,
    inputs: Mapping[str, Sequence[Input]],
    analysis: Analysis,
    result: StudyResult,
    stages: Stages,
    services: Services,
) -> dict[str, Any]:
    """Return the run report: all that is needed to compute this again. No patient data."""
    return {
        "job": str(order.job_id),
        "study_instance_uid": order.study_instance_uid,
        "analysis": {
            "name": order.analysis,
            "version": order.analysis_version,
            "digest": order.analysis_digest,
            "title": analysis.title,
        },
        "models": {
            step: {"name": one.name, "version": one.version, "digest": one.digest}
            for step, one in order.models.items()
        },
        "inputs": {
            name: [
                {
                    "series_instance_uid": one.series_instance_uid,
                    "part": one.part,
                    "instances": len(one.paths),
                    "verdict": one.verdict,
                    "detail": one.detail,
                    "intensity": intensities.summarise(image),
                }
                for one, image in zip(chosen, inputs[name], strict=True)
            ]
            for name, chosen in order.inputs.items()
        },
        "policies": dataclasses.asdict(analysis.policies),
        "versions": versions(),
        "device": services.models.device,
        "worker": services.owner,
        **result.report(),
        "seconds": stages.rounded(),
    }


class Stages:
    """Seconds by stage of one job, kept for its report and told to Prometheus."""

    def __init__(self) -> None:
        """Start with none."""
        self._seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Measure the block as one stage."""
        began = time.perf_counter()
        yield
        self._seconds[stage] = time.perf_counter() - began
        metrics.STAGE_SECONDS.labels(stage=stage).observe(self._seconds[stage])

    def rounded(self) -> dict[str, float]:
        """Return what was measured, to a tenth of a millisecond."""
        return {stage: round(seconds, 4) for stage, seconds in self._seconds.items()}
