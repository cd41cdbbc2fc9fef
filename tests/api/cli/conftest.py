"""A home with one batch in it, written through the records, and the command line on it."""

from __future__ import annotations

import json
import shutil
import uuid
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session, sessionmaker
from typer.testing import CliRunner

from api.cli.main import app
from records import analyses, batches, database, jobs, models
from records.database import unit_of_work

LEASE = timedelta(seconds=30)
CONSIDERED = [
    {
        "series_instance_uid": "1.2.1.1",
        "part": 0,
        "chosen": True,
        "because": "chosen: it has the most slices",
        "clauses": [{"clause": "modality", "expected": "CT", "actual": "CT", "holds": True}],
    },
    {
        "series_instance_uid": "1.2.1.2",
        "part": 0,
        "chosen": False,
        "because": "not chosen: minimum_slices does not hold",
        "clauses": [{"clause": "minimum_slices", "expected": 16, "actual": 3, "holds": False}],
    },
]
PLAN = {
    "inputs": {
        "ct": {
            "chosen": [{"series_instance_uid": "1.2.1.1", "part": 0}],
            "considered": CONSIDERED,
        }
    },
    "prepared": {"smooth": {"of": "ct", "steps": ["median (radius_mm 1)", "otsu (bins 256)"]}},
    "steps": [
        {"step": "lungs", "model": "threshold-lung", "input": "ct", "after": []},
        {
            "step": "nodules",
            "model": "finder",
            "input": "ct",
            "after": ["lungs"],
            "crop": "to the mask of step lungs",
            "when": "volume in mL of lung in step lungs is above 5",
        },
    ],
}
WHEN = {
    "clause": "any",
    "expected": "one of these",
    "actual": ["volume"],
    "holds": True,
    "parts": [
        {"clause": "volume", "expected": "above 5", "actual": 9.5, "holds": True},
        {"clause": "score", "expected": "at least 1", "actual": 0.5, "holds": False},
    ],
}
CROP = {
    "to": "lungs",
    "segments": None,
    "margin_mm": 10.0,
    "box": [0, 4, 8, 12, 20, 30],
    "first_mm": [-10.5, 2.0, 3.0],
    "size_mm": [24.0, 8.0, 11.0],
}
PREPARED = {
    "input": "smooth",
    "shape": [12, 20, 18],
    "spacing_mm": [2.5, 1.0, 1.0],
    "seconds": 0.3,
    "steps": [
        {"step": "otsu", "parameters": {"bins": 256}, "found": {"value": 41.5}},
        {"step": "fill_holes", "parameters": {}, "found": {}},
    ],
}
NAMED = {"version": "1", "seconds": 0.5}
REPORT = {
    "steps": [
        {
            **NAMED,
            "step": "nodules",
            "model": "finder",
            "ran": True,
            "inputs": [
                {
                    "series_instance_uid": "1.2.1.1",
                    "prepared": [PREPARED],
                    "when": WHEN,
                    "crop": CROP,
                }
            ],
            "skipped": [],
        },
        {
            **NAMED,
            "step": "boxes",
            "model": "boxer",
            "ran": False,
            "inputs": [],
            "skipped": [
                {
                    "series_instance_uid": "1.2.1.1",
                    "because": "step other was skipped",
                    "when": None,
                }
            ],
        },
    ]
}


@dataclass(frozen=True)
class Said:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it said, as JSON."""
        return json.loads(self.out)


class Shell:
    """Types commands, in this process."""

    def __call__(self, *words: str) -> Said:
        done = CliRunner().invoke(app, list(words), catch_exceptions=False)
        return Said(done.exit_code, done.stdout, done.stderr)


@dataclass(frozen=True)
class Home:
    """A home with a batch of three studies: one succeeded, one was rejected, one waits."""

    path: Path
    sessions: sessionmaker[Session]
    batch: uuid.UUID
    succeeded: uuid.UUID
    rejected: uuid.UUID
    queued: uuid.UUID


@pytest.fixture
def home_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home; no setting of the person who runs the tests reaches it."""
    import os

    for name in [name for name in os.environ if name.startswith("NIGHTSHIFT_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)  # a .env of the checkout is not read
    monkeypatch.setenv("COLUMNS", "200")
    path = tmp_path / "home"
    path.mkdir(mode=0o700)
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(path))
    return path


@pytest.fixture
def shell(home_path: Path) -> Shell:
    """The command line on a home of its own."""
    return Shell()


@pytest.fixture
def home(home_path: Path, sqlite_template: Path) -> Home:
    """A home with one batch in it."""
    shutil.copyfile(sqlite_template, home_path / "nightshift.db")
    sessions = database.session_factory(
        database.connect(f"sqlite:///{home_path / 'nightshift.db'}")
    )
    with unit_of_work(sessions) as session:
        batch, made = _plan(session)
    _carry(sessions, made)
    by_study = dict(zip(("1.2.1", "1.2.2", "1.2.3"), made, strict=True))
    return Home(home_path, sessions, batch, by_study["1.2.1"], by_study["1.2.2"], by_study["1.2.3"])


def _plan(session: Session) -> tuple[uuid.UUID, list[uuid.UUID]]:
    document = {"name": "ct-chest", "title": "Chest", "steps": [{"name": "lungs"}]}
    analysis = analyses.register(
        session,
        analyses.NewAnalysis(name="ct-chest", version="1", digest="a" * 64, document=document),
        by="tester",
    )
    model = models.register(
        session,
        models.NewModelVersion(
            name="threshold-lung",
            version="1",
            digest="b" * 64,
            kind="threshold",
            path="bundles/b",
            bundle_metadata={"version": "1"},
        ),
        by="tester",
    )
    models.promote(session, "threshold-lung", "1", by="tester", why="the first", override=True)
    batch = batches.create(
        session, batches.NewBatch(source="/exports/night", analyses=["ct-chest"]), by="tester"
    )
    lease = batches.claim_scan(session, batch.id, owner="desk", lease=LEASE)
    assert lease is not None
    studies = [_study(f"1.2.{n}", analysis.id, model.id) for n in (1, 2, 3)]
    strays = [batches.ScannedFile(path="README.TXT", size=3, verdict="file.not_dicom")]
    batches.record_studies(session, lease, studies, strays)
    batches.finish_plan(session, lease)
    return batch.id, _job_ids(session)


def _study(uid: str, analysis: uuid.UUID, model: uuid.UUID) -> batches.PlannedStudy:
    file = batches.ScannedFile(path=f"{uid}/1", size=9, verdict="ok", sop_instance_uid=f"{uid}.9")
    series = batches.PlannedSeries(
        series_instance_uid=f"{uid}.1",
        modality="CT",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        verdict="ok",
        files=[file],
    )
    job = batches.PlannedJob(analysis_id=analysis, plan=PLAN, models={"lungs": model})
    return batches.PlannedStudy(study_instance_uid=uid, series=[series], jobs=[job])


def _job_ids(session: Session) -> list[uuid.UUID]:
    from sqlalchemy import select

    from records.tables import Job, Study

    query = select(Job.id).join(Study, Study.id == Job.study_id).order_by(Study.study_instance_uid)
    return list(session.scalars(query))


def _carry(sessions: sessionmaker[Session], made: list[uuid.UUID]) -> None:
    """Let the first job succeed and the second be rejected."""
    with unit_of_work(sessions) as session:
        for number, job in enumerate(made[:2]):
            lease = jobs.claim(session, job, owner="host:1:a", lease=LEASE)
            assert lease is not None
            if number == 0:
                rows = [_result(session)]
                jobs.succeed(session, lease, results=rows, artifacts=[], report=REPORT)
            else:
                detail = "A slice is missing."
                jobs.reject(session, lease, reason="series.missing_slice", detail=detail)


def _result(session: Session) -> jobs.NewResult:
    active = models.active(session, "threshold-lung")
    assert active is not None
    return jobs.NewResult(
        step="lungs",
        ordinal=0,
        kind="segment",
        label="lung",
        code="SCT:39607008",
        value=4321.5,
        unit="ml",
        series_instance_uid="1.2.1.1",
        model_version_id=active.id,
    )
