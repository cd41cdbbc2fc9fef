"""Jobs that have answered: one series each, under a model of one kind."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from records.base import BatchStatus, JobStatus
from records.database import unit_of_work
from records.tables import (
    Analysis,
    Artifact,
    Batch,
    File,
    Job,
    JobModel,
    ModelVersion,
    Result,
    Series,
    Study,
)

AT = datetime(2026, 1, 1, tzinfo=UTC)
LABELS = [{"number": 0, "name": "dark"}, {"number": 1, "name": "bright"}]


class Answered:
    """An analysis ``light`` with one step of the model ``quick``, and jobs that it answered."""

    def __init__(
        self,
        sessions: sessionmaker[Session],
        kind: str = "classification",
        source: str = "in",
        options: dict[str, Any] | None = None,
    ) -> None:
        self.sessions = sessions
        self.kind = kind
        self.analysis_id, self.model_id, self.batch_id = (uuid.uuid4() for _ in range(3))
        metadata = {"nightshift": {"labels": LABELS, "options": options or {}}}
        with unit_of_work(sessions) as session:
            session.add_all(
                [
                    Analysis(
                        id=self.analysis_id, name="light", version="1", digest="0" * 64,
                        document={"steps": [{"name": "look"}]}, created_at=AT,
                    ),
                    ModelVersion(
                        id=self.model_id, name="quick", version="1.0", digest="1" * 64, kind=kind,
                        path="bundles/1", bundle_metadata=metadata, created_at=AT,
                    ),
                    Batch(
                        id=self.batch_id, status=BatchStatus.FINISHED, source=source,
                        analyses=["light"], created_by="tester", created_at=AT, planned_at=AT,
                    ),
                ]
            )  # fmt: skip

    def job(self, number: int, results: list[dict[str, Any]], **columns: Any) -> uuid.UUID:
        """Add a study of the series ``2.25.<number>``, its file ``<number>.dcm`` and its answer."""
        study_id, series_id, job_id = (uuid.uuid4() for _ in range(3))
        uid = f"2.25.{number}"
        chosen = [{"series_instance_uid": uid, "part": 0}]
        attributes = columns.pop("attributes", {})
        job = Job(
            **{
                "id": job_id, "batch_id": self.batch_id, "study_id": study_id,
                "analysis_id": self.analysis_id, "status": JobStatus.SUCCEEDED,
                "plan": {"inputs": {"image": {"chosen": chosen}}},
                "created_at": AT, "finished_at": AT, **columns,
            }
        )  # fmt: skip
        with unit_of_work(self.sessions) as session:
            session.add(Study(id=study_id, batch_id=self.batch_id, study_instance_uid=f"{uid}.1"))
            session.flush()
            series = Series(
                id=series_id, study_id=study_id, series_instance_uid=uid, modality="OT",
                sop_class_uid="1.2", instance_count=1, verdict="ok", attributes=attributes,
            )  # fmt: skip
            session.add_all([series, job])
            session.flush()
            file = {"path": f"{number}.dcm", "size": 1, "verdict": "ok"}
            session.add(File(batch_id=self.batch_id, series_id=series_id, **file))
            session.add(JobModel(job_id=job_id, step="look", model_version_id=self.model_id))
            for ordinal, result in enumerate(results):
                session.add(self._result(job_id, uid, ordinal, result))
        return job_id

    def part(self, job_id: uuid.UUID, number: int, path: str) -> None:
        """Add a part of the series of a job that the job was not about, of one file."""
        with unit_of_work(self.sessions) as session:
            study_id = session.get_one(Job, job_id).study_id
            asked = select(Series).where(Series.study_id == study_id, Series.part == 0)
            first = session.scalars(asked).one()
            other = Series(
                id=uuid.uuid4(), study_id=study_id, part=number, modality="OT", verdict="ok",
                series_instance_uid=first.series_instance_uid, sop_class_uid="1.2",
                instance_count=1, attributes={},
            )  # fmt: skip
            session.add(other)
            session.flush()
            file = {"path": path, "size": 1, "verdict": "ok"}
            session.add(File(batch_id=self.batch_id, series_id=other.id, **file))

    def artifact(self, job_id: uuid.UUID, name: str) -> None:
        """Add a segmentation that the job wrote."""
        row = Artifact(
            job_id=job_id, name=name, kind="dicom-seg", media_type="application/dicom",
            sha256="a" * 64, size=1,
        )  # fmt: skip
        with unit_of_work(self.sessions) as session:
            session.add(row)

    def _result(self, job_id: uuid.UUID, uid: str, ordinal: int, said: dict[str, Any]) -> Result:
        columns = {"kind": self.kind, "payload": {}, **said}
        return Result(
            job_id=job_id, step="look", ordinal=ordinal, series_instance_uid=uid,
            model_version_id=self.model_id, **columns,
        )  # fmt: skip


def scores(dark: float) -> list[dict[str, Any]]:
    """Return what a classification says."""
    return [
        {"label": "dark", "score": dark, "payload": {"is_top": dark >= 0.5}},
        {"label": "bright", "score": 1 - dark, "payload": {"is_top": dark < 0.5}},
    ]
