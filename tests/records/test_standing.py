"""What is in force, what is withdrawn, and the studies of a recalled version run again."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, select
from sqlalchemy.orm import Session, sessionmaker

from records import audit, jobs, leases, lineage, models, orders, reruns
from records.base import BatchStatus, JobStatus, Stage, Withdrawal
from records.database import reading, unit_of_work
from records.listing import lineage_of, results_of
from records.models import ModelVersionMissing, NewModelVersion, StageRefused
from records.standing import Standing, standings
from records.tables import (
    Analysis,
    AuditRecord,
    Batch,
    File,
    Job,
    JobModel,
    ModelVersion,
    Result,
    Series,
    Study,
)

Sessions = sessionmaker[Session]
AT = datetime(2026, 1, 1, tzinfo=UTC)
STUDY = "1.2.840.1"


class Nights:
    """Batches of one study each, analysed by whatever version of a model is active that night."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self.analysis_id = uuid.uuid4()
        self.count = 0
        with unit_of_work(sessions) as session:
            session.add(
                Analysis(
                    id=self.analysis_id,
                    name="ct",
                    version="1",
                    digest="0" * 64,
                    document={},
                    created_at=AT,
                )
            )
            for version in ("1.0", "1.1"):
                new = NewModelVersion(
                    name="lung",
                    version=version,
                    digest=version.ljust(64, "0"),
                    kind="threshold",
                    path=f"bundles/{version}",
                    bundle_metadata={},
                )
                models.register(session, new, by="ada")

    def promote(self, version: str) -> None:
        with unit_of_work(self.sessions) as session:
            models.promote(session, "lung", version, by="grace", why="x", override=True)

    def analyse(self, *, study: str = STUDY, status: JobStatus = JobStatus.SUCCEEDED) -> uuid.UUID:
        """Analyse a study with the active version, an hour after the last one; returns the job."""
        self.count += 1
        at = AT + timedelta(hours=self.count)
        batch, row, job = (uuid.uuid4() for _ in range(3))
        with unit_of_work(self.sessions) as session:
            active = models.active(session, "lung")
            assert active is not None
            session.add(
                Batch(
                    id=batch,
                    status=BatchStatus.FINISHED,
                    source="export",
                    analyses=["ct"],
                    created_by="ada",
                    created_at=at,
                    planned_at=at,
                )
            )
            session.flush()
            session.add(Study(id=row, batch_id=batch, study_instance_uid=study))
            session.flush()
            self._add_series(session, batch, row)
            plan = {"inputs": {"ct": {"chosen": [{"series_instance_uid": "1.2.3", "part": 0}]}}}
            session.add(
                Job(
                    id=job,
                    batch_id=batch,
                    study_id=row,
                    analysis_id=self.analysis_id,
                    status=status,
                    plan=plan,
                    created_at=at,
                    finished_at=at,
                )
            )
            session.flush()
            session.add(JobModel(job_id=job, step="lungs", model_version_id=active.id))
            session.add(
                Result(
                    job_id=job,
                    step="lungs",
                    ordinal=0,
                    kind="segment",
                    label="Lung",
                    model_version_id=active.id,
                )
            )
        return job

    @staticmethod
    def _add_series(session: Session, batch: uuid.UUID, study: uuid.UUID) -> None:
        series = uuid.uuid4()
        session.add(
            Series(
                id=series,
                study_id=study,
                series_instance_uid="1.2.3",
                modality="CT",
                sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
                instance_count=1,
                verdict="ok",
                attributes={},
                headers=b"facts",
            )
        )
        session.flush()
        session.add(File(batch_id=batch, series_id=series, path="a.dcm", size=9, verdict="ok"))

    def standing(self, *of: uuid.UUID) -> list[Standing]:
        with reading(self.sessions) as session:
            found = standings(session, of)
        return [found[one] for one in of]


@pytest.fixture
def nights(sessions: Sessions) -> Nights:
    made = Nights(sessions)
    made.promote("1.0")
    return made


def test_the_last_analysis_of_a_study_is_in_force(nights: Nights) -> None:
    first = nights.analyse()
    other = nights.analyse(study="1.2.840.2")
    assert nights.standing(first, other) == [Standing.IN_FORCE] * 2
    second = nights.analyse()
    assert nights.standing(first, second, other) == [
        Standing.SUPERSEDED,
        Standing.IN_FORCE,
        Standing.IN_FORCE,
    ]
    with reading(nights.sessions) as session:
        shown = results_of(session, [first, second])
    assert [row.standing for row in shown] == [Standing.SUPERSEDED, Standing.IN_FORCE]


def test_an_analysis_that_did_not_succeed_supersedes_nothing(nights: Nights) -> None:
    first = nights.analyse()
    nights.analyse(status=JobStatus.FAILED)
    assert nights.standing(first) == [Standing.IN_FORCE]


def test_a_rollback_puts_the_old_results_back_in_force(nights: Nights) -> None:
    old = nights.analyse()
    nights.promote("1.1")
    new = nights.analyse()
    assert nights.standing(old, new) == [Standing.SUPERSEDED, Standing.IN_FORCE]
    with unit_of_work(nights.sessions) as session:
        models.rollback(session, "lung", by="grace", why="a bad night")
    assert nights.standing(old, new) == [Standing.IN_FORCE, Standing.ROLLED_BACK]


def test_a_recall_takes_back_every_result_and_goes_back_to_what_was_active(nights: Nights) -> None:
    old = nights.analyse()
    nights.promote("1.1")
    new = nights.analyse()
    with unit_of_work(nights.sessions) as session:
        models.recall(session, "lung", "1.1", by="grace", why="trained on wrong labels")
    assert nights.standing(old, new) == [Standing.IN_FORCE, Standing.RECALLED]
    with reading(nights.sessions) as session:
        recalled = models.get(session, "lung", "1.1")
        assert (recalled.stage, recalled.withdrawn) == (Stage.RETIRED, Withdrawal.RECALLED)
        assert models.get(session, "lung", "1.0").stage is Stage.ACTIVE
        last = session.scalars(select(AuditRecord).order_by(AuditRecord.sequence.desc())).first()
        assert last is not None
        assert (last.event_id, last.detail["active"]) == ("model.recalled", "1.0")
    with pytest.raises(StageRefused, match="recalled already"):  # noqa: SIM117 - what is refused
        with unit_of_work(nights.sessions) as session:
            models.recall(session, "lung", "1.1", by="grace", why="again")


def test_how_the_jobs_of_a_version_stand_is_counted_in_one_statement(nights: Nights) -> None:
    nights.analyse()
    nights.analyse()
    nights.analyse(study="1.2.840.2")
    nights.analyse(study="1.2.840.3", status=JobStatus.FAILED)
    asked: list[str] = []
    with reading(nights.sessions) as session:

        def hear(_: object, __: object, statement: str, *___: object) -> None:
            asked.append(statement)

        event.listen(session.connection(), "before_cursor_execute", hear)
        assert lineage_of(session, "lung", "1.0").jobs == {"in force": 2, "superseded": 1}
    assert len([one for one in asked if "job_models" in one]) == 1


def test_lineage_leads_from_a_version_to_its_jobs(nights: Nights) -> None:
    first, second = nights.analyse(), nights.analyse()
    with reading(nights.sessions) as session:
        version = models.get(session, "lung", "1.0")
        uses = list(lineage.uses(session, version))
        assert lineage.training_of(session, version) is None
        assert lineage.snapshot_of(session, version) is None
    assert [(use.job, use.standing) for use in uses] == [
        (first, Standing.SUPERSEDED),
        (second, Standing.IN_FORCE),
    ]
    assert {use.study for use in uses} == {STUDY}


def test_just_the_studies_of_a_recalled_version_are_run_again(nights: Nights) -> None:
    nights.analyse(study="1.2.840.9")
    nights.promote("1.1")
    recalled = nights.analyse()
    nights.analyse(study="1.2.840.3", status=JobStatus.REJECTED)
    with unit_of_work(nights.sessions) as session:
        models.recall(session, "lung", "1.1", by="grace", why="wrong labels")
        (batch_id,) = reruns.rerun(session, "lung", "1.1", by="grace")
    with reading(nights.sessions) as session:
        batch = session.get_one(Batch, batch_id)
        assert (batch.status, batch.source) == (BatchStatus.RUNNING, "export")
        (job,) = session.scalars(select(Job).where(Job.batch_id == batch_id))
        assert job.status is JobStatus.QUEUED
        order = orders.read(session, job.id)
        assert audit.verify(session).ok
    assert order.study_instance_uid == STUDY
    assert order.models["lungs"].version == "1.0"
    (ref,) = order.inputs["ct"]
    assert (ref.paths, ref.headers) == (("a.dcm",), b"facts")
    assert nights.standing(recalled) == [Standing.RECALLED]
    with unit_of_work(nights.sessions) as session:  # it can be claimed like any other
        lease = jobs.claim(session, job.id, owner="w", lease=timedelta(minutes=1))
        assert isinstance(lease, leases.Lease)


def test_without_an_active_version_nothing_is_run_again(nights: Nights) -> None:
    nights.analyse()
    with unit_of_work(nights.sessions) as session:
        models.recall(session, "lung", "1.0", by="grace", why="wrong labels")
        assert models.active(session, "lung") is None
    with pytest.raises(ModelVersionMissing, match="no active version"):  # noqa: SIM117
        with unit_of_work(nights.sessions) as session:
            reruns.rerun(session, "lung", "1.0", by="grace")
    with reading(nights.sessions) as session:
        assert (
            session.scalars(select(ModelVersion).where(ModelVersion.stage == "active")).all() == []
        )
        assert len(session.scalars(select(Batch)).all()) == 1
