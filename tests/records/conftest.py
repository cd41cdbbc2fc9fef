"""Rows to start from: a batch of one study whose job waits."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest
from sqlalchemy.orm import Session, sessionmaker

from records.base import BatchStatus
from records.database import unit_of_work
from records.tables import Analysis, Batch, Job, ModelVersion, Study
from tests.records.nights import Nights

AT = datetime(2026, 1, 1, tzinfo=UTC)


class Rows:
    """Makes the rows a test needs, each with what the tables require."""

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self.sessions = sessions
        self.analysis_id = uuid.uuid4()
        self.model_id = uuid.uuid4()
        self.batch_id = uuid.uuid4()
        with unit_of_work(sessions) as session:
            session.add_all([self._analysis(), self._model(), self._batch()])

    def job(self, **columns: object) -> uuid.UUID:
        """Add a study and its job to the batch; return the id of the job."""
        return self.jobs(1, **columns)[0]

    def jobs(self, count: int, **columns: object) -> list[uuid.UUID]:
        """Add studies with a job each; return the ids of the jobs in the order of creation."""
        studies = [
            Study(id=uuid.uuid4(), batch_id=self.batch_id, study_instance_uid=f"2.25.{i}")
            for i in (uuid.uuid4().int for _ in range(count))
        ]
        rows = [
            Job(
                **{
                    "id": uuid.uuid4(),
                    "batch_id": self.batch_id,
                    "study_id": study.id,
                    "analysis_id": self.analysis_id,
                    "plan": {},
                    "created_at": AT,
                    **columns,
                }
            )
            for study in studies
        ]
        with unit_of_work(self.sessions) as session:
            session.add_all(studies)
            session.flush()
            session.add_all(rows)
        return [row.id for row in rows]

    def _analysis(self) -> Analysis:
        return Analysis(
            id=self.analysis_id, name="ct", version="1", digest="0" * 64, document={}, created_at=AT
        )

    def _model(self) -> ModelVersion:
        return ModelVersion(
            id=self.model_id,
            name="lung",
            version="1",
            digest="1" * 64,
            kind="threshold",
            path="bundles/1",
            bundle_metadata={},
            created_at=AT,
        )

    def _batch(self) -> Batch:
        return Batch(
            id=self.batch_id,
            status=BatchStatus.RUNNING,
            source="in",
            analyses=["ct"],
            created_by="tester",
            created_at=AT,
            planned_at=AT,
        )


@pytest.fixture
def rows(sessions: sessionmaker[Session]) -> Rows:
    """An analysis, a model version and a running batch, on each kind of database."""
    return Rows(sessions)


@pytest.fixture
def nights(sessions: sessionmaker[Session]) -> Nights:
    """Two versions of a model, the first one active, on each kind of database."""
    made = Nights(sessions)
    made.promote("1.0")
    return made
