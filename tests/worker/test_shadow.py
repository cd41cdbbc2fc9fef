"""Candidates beside the active version: kept apart, compared, and never at the cost of a job."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

import models as shipped
from pipeline.answers import StudyResult
from pipeline.models import bundle
from pipeline.study import analyze
from records import models, shadows
from records.base import JobStatus
from records.database import reading, unit_of_work
from records.models import StageRefused
from records.tables import Artifact, Job, Result, ShadowRun
from tests.worker.conftest import Planned
from worker import shadow
from worker.catalogue import described
from worker.services import Services
from worker.tasks import inference

NAME = "threshold-lung"


def add_candidate(here: Services, folder: Path, version: str, **options: Any) -> None:
    """Register the shipped lung mask once more, with other options."""
    copied = folder / version
    shutil.copytree(Path(next(iter(shipped.__path__))) / NAME, copied)
    metadata = copied / bundle.METADATA
    document = json.loads(metadata.read_text())
    document["version"] = version
    document["nightshift"]["options"] |= options
    metadata.write_text(json.dumps(document))
    loaded = bundle.load(copied)
    new = described(loaded, here.store.put_bundle(copied, loaded.digest))
    with unit_of_work(here.sessions) as session:
        models.register(session, new, by="ada")
        shadows.switch(session, NAME, version, on=True, by="ada")


def what_was_delivered(here: Services, job_id: UUID) -> tuple[list[Any], list[str]]:
    with reading(here.sessions) as session:
        assert session.get_one(Job, job_id).status is JobStatus.SUCCEEDED
        results = session.scalars(select(Result).where(Result.job_id == job_id)).all()
        files = session.scalars(select(Artifact.name).where(Artifact.job_id == job_id)).all()
        return [(row.label, row.value, row.model_version_id) for row in results], list(files)


def runs_of(here: Services) -> list[ShadowRun]:
    with reading(here.sessions) as session:
        return list(session.scalars(select(ShadowRun).order_by(ShadowRun.id)))


def test_a_candidate_that_says_the_same_agrees_and_is_not_delivered(
    here: Services, planned: Planned, tmp_path: Path
) -> None:
    first, second = planned.jobs
    inference.carry_job(first, here)
    assert runs_of(here) == []
    add_candidate(here, tmp_path, "2")
    inference.carry_job(second, here)
    (run,) = runs_of(here)
    assert (run.job_id, run.step, run.reason) == (second, "lungs", None)
    assert run.agreement["dice"] == {"lung": 1.0}
    assert [row["label"] for row in run.results] == ["lung"]
    delivered, files = what_was_delivered(here, second)
    assert len(delivered) == 1
    assert files == ["lungs.dcm"]
    with reading(here.sessions) as session:
        active = models.active(session, NAME)
        report = shadows.report(session, NAME, "2")
    assert active is not None
    assert delivered[0][2] == active.id
    assert (report.studies, report.failed, report.dice) == (1, 0, {"lung": 1.0})
    assert report.differences == []


def test_a_candidate_that_says_otherwise_is_reported_study_by_study(
    here: Services, planned: Planned, tmp_path: Path
) -> None:
    add_candidate(here, tmp_path, "2", components=1)  # one lung of two
    for job in planned.jobs:
        inference.carry_job(job, here)
    with reading(here.sessions) as session:
        report = shadows.report(session, NAME, "2")
    assert report.studies == 2
    assert 0.5 < report.dice["lung"] < 0.9
    assert {one.job for one in report.differences} == set(planned.jobs)
    assert report.differences[0].agreed == min(one.agreed or 0 for one in report.differences)


def test_a_candidate_that_fails_costs_its_job_nothing(
    here: Services, planned: Planned, tmp_path: Path
) -> None:
    add_candidate(here, tmp_path, "2", components=1)
    with reading(here.sessions) as session:
        (Path(models.get(session, NAME, "2").path) / bundle.METADATA).write_text("{}")
    job = planned.jobs[0]
    inference.carry_job(job, here)
    delivered, _ = what_was_delivered(here, job)
    assert len(delivered) == 1
    (run,) = runs_of(here)
    assert run.reason == "model.unavailable"
    with reading(here.sessions) as session:
        report = shadows.report(session, NAME, "2")
    assert (report.failed, report.differences[0].reason) == (1, "model.unavailable")


def test_whatever_a_shadow_raises_the_job_has_ended(
    here: Services, planned: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_candidate(here, tmp_path, "2")

    def explode(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(shadows, "record", explode)
    inference.carry_job(planned.jobs[0], here)
    assert len(what_was_delivered(here, planned.jobs[0])[0]) == 1


def test_a_candidate_is_watched_while_it_runs_from_its_turn_to_its_end(
    here: Services, planned: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_candidate(here, tmp_path, "2")
    job, seen = planned.jobs[0], list[list[UUID]]()

    def watched(*words: Any, **named: Any) -> StudyResult:
        seen.extend([here.flights.overdue(-math.inf), here.flights.overdue(0)])
        return analyze(*words, **named)

    monkeypatch.setattr(shadow, "analyze", watched)
    inference.carry_job(job, here)
    assert seen == [[job], []]
    assert not here.flights.is_busy
    assert [run.reason for run in runs_of(here)] == [None]


def test_only_a_candidate_runs_beside_and_it_ends_when_it_is_promoted(
    here: Services, tmp_path: Path
) -> None:
    with pytest.raises(StageRefused, match="is active"), unit_of_work(here.sessions) as session:
        shadows.switch(session, NAME, "1", on=True, by="ada")
    add_candidate(here, tmp_path, "2")
    with unit_of_work(here.sessions) as session:
        promoted = models.promote(session, NAME, "2", by="ada", why="agrees", override=True)
        assert not promoted.is_shadow
    with pytest.raises(StageRefused, match="is retired"), unit_of_work(here.sessions) as session:
        shadows.switch(session, NAME, "1", on=True, by="ada")


def test_a_candidate_that_is_retired_no_longer_runs(here: Services, tmp_path: Path) -> None:
    add_candidate(here, tmp_path, "2")
    with unit_of_work(here.sessions) as session:
        assert not models.retire(session, NAME, "2", by="ada", why="not wanted").is_shadow
