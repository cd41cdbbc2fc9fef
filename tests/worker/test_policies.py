"""Series that are not plainly sound, through a strict and a lenient analysis of one batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID
from sqlalchemy import select

from records import batches, database
from records.base import JobStatus
from records.tables import Job, Study
from tests.machine import LUNGS
from tests.pipeline.dicom import made_series
from worker.catalogue import register_analysis
from worker.services import Services
from worker.tasks import desk, inference

LENIENT = """
policies:
  missing_slice: resample
  gantry_tilt: resample
  duplicate_position: first
  partial_phase: whole
  spacing_tolerance: 0.05
"""
Slices = list[Dataset]


def _tilted(slices: Slices) -> Slices:
    for one in slices:
        one.ImageOrientationPatient = [1, 0, 0, 0, math.cos(0.25), -math.sin(0.25)]
    return slices


def _twice(slices: Slices) -> Slices:
    again = made_series.instance(30)
    again.ImagePositionPatient = slices[5].ImagePositionPatient
    return [*slices, again]


def _aborted(slices: Slices) -> Slices:
    later = [made_series.instance(30 + number) for number in range(12)]
    for number, one in enumerate([*slices, *later]):
        one.TemporalPositionIdentifier = 1 + number // len(slices)
        one.ImagePositionPatient = slices[number % len(slices)].ImagePositionPatient
    return [*slices, *later]


def _uneven(slices: Slices) -> Slices:
    slices[7].ImagePositionPatient = [10, 20, 65.2]
    return slices


FAULTS: dict[str, tuple[Callable[[Slices], Slices], str, str]] = {
    "series.gantry_tilt": (_tilted, "gantry_tilt: resample", "sheared by 14.3 degrees"),
    "series.missing_slice": (
        lambda slices: [*slices[:5], *slices[6:]],
        "missing_slice: resample",
        "interpolation: 1 of 16",
    ),
    "series.duplicate_position": (_twice, "duplicate_position: first", "left out"),
    "series.partial_phase": (_aborted, "partial_phase: whole", ""),
    "series.geometry_invalid": (_uneven, "spacing_tolerance: 0.05", ""),
}


def _write(folder: Path) -> dict[str, str]:
    """Write a study for every fault; return study UID -> reason code."""
    studies = {}
    for number, (reason, (fault, _, _)) in enumerate(FAULTS.items()):
        study = f"1.2.3.{100 + number}"
        slices = fault(made_series.stack(16))
        for one in slices:
            one.StudyInstanceUID, one.SeriesInstanceUID = UID(study), UID(f"{study}.1")
            one.SOPInstanceUID = UID(f"{study}.1.{one.InstanceNumber}")
            one.Rows, one.Columns = 24, 24
            one.PixelData = np.full((24, 24), 24, np.int16).tobytes()
            made_series.with_meta(one)
        made_series.write(folder / str(number), slices)
        studies[study] = reason
    return studies


@pytest.mark.parametrize("lenient", [False, True])
def test_a_fault_is_read_by_the_policy_that_allows_it_and_by_no_other(
    here: Services, tmp_path: Path, *, lenient: bool
) -> None:
    studies = _write(tmp_path / "source")
    document = tmp_path / "chosen.yaml"
    document.write_text(LUNGS.replace("test-lungs", "chosen") + (LENIENT if lenient else ""))
    register_analysis(here, document)
    with database.unit_of_work(here.sessions) as session:
        new = batches.NewBatch(source=str(tmp_path / "source"), analyses=["chosen"])
        batch = batches.create(session, new, by="test").id
    desk.carry_scan(batch, here)
    with database.reading(here.sessions) as session:
        rows = select(Study.study_instance_uid, Job.id).join(Job, Job.study_id == Study.id)
        jobs = dict(iter(session.execute(rows)))
    for study, reason in studies.items():
        if lenient:
            inference.carry_job(jobs[study], here)
        with database.reading(here.sessions) as session:
            job = session.get_one(Job, jobs[study])
        if not lenient:
            assert (job.status, job.reason) == (JobStatus.REJECTED, reason)
            continue
        _check(job, reason)


def _check(job: Job, reason: str) -> None:
    _, policy, warning = FAULTS[reason]
    assert job.status is JobStatus.SUCCEEDED, (reason, job.reason, job.detail)
    considered = job.plan["inputs"]["ct"]["considered"]
    (because,) = (one["because"] for one in considered if one["chosen"])
    assert because == f"chosen: every clause holds; {reason} is let in by {policy}"
    assert job.report is not None
    (read,) = job.report["inputs"]["ct"]
    assert read["verdict"] == reason
    assert read["detail"]
    assert any(warning in said for said in job.report["warnings"]) or not warning
