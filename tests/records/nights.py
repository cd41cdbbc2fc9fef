"""Nights: studies analysed by whatever version of a model was active."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from records import audit, jobs, models, orders, recalls
from records.base import BatchStatus, JobStatus
from records.database import reading, unit_of_work
from records.leases import Lease
from records.models import NewModelVersion
from records.recalls import Recalled
from records.standing import Standing, standings
from records.tables import (
    Analysis,
    AuditRecord,
    Batch,
    File,
    Job,
    JobModel,
    Result,
    Series,
    Study,
)
from records.transitions import JOB_ENDS

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
        has_ended = status in JOB_ENDS
        batch, row, job = (uuid.uuid4() for _ in range(3))
        with unit_of_work(self.sessions) as session:
            active = models.active(session, "lung")
            assert active is not None
            session.add(
                Batch(
                    id=batch,
                    status=BatchStatus.FINISHED if has_ended else BatchStatus.RUNNING,
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
                    finished_at=at if has_ended else None,
                )
            )
            session.flush()
            session.add(JobModel(job_id=job, step="lungs", model_version_id=active.id))
            if status is JobStatus.SUCCEEDED:
                session.add(self._result(job, active.id))
        return job

    def recall(self, version: str) -> Recalled:
        with unit_of_work(self.sessions) as session:
            return recalls.recall(session, "lung", version, by="grace", why="wrong labels")

    def claim(self, job: uuid.UUID) -> Lease | None:
        with unit_of_work(self.sessions) as session:
            return jobs.claim(session, job, owner="w", lease=timedelta(minutes=1))

    def version_of(self, job: uuid.UUID) -> str:
        """Return the version that whoever carries the job would run."""
        with reading(self.sessions) as session:
            return orders.read(session, job).models["lungs"].version

    def events(self, event_id: str) -> list[AuditRecord]:
        """Return what the audit says of such events; the chain is whole."""
        with reading(self.sessions) as session:
            assert audit.verify(session).ok
            query = select(AuditRecord).where(AuditRecord.event_id == event_id)
            return list(session.scalars(query.order_by(AuditRecord.sequence)))

    @staticmethod
    def _result(job: uuid.UUID, version: uuid.UUID) -> Result:
        return Result(
            job_id=job,
            step="lungs",
            ordinal=0,
            kind="segment",
            label="Lung",
            model_version_id=version,
        )

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
