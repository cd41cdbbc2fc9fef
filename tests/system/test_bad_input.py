"""Every broken and hostile file in one export: each says why, the sound studies come through."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.pipeline.dicom import made_series as series
from tests.pipeline.dicom.cases import hostile_files, usual_faults
from tests.pipeline.dicom.cases.case import Case

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

SCRIPT = Path(sys.executable).parent / "nightshift"
ANALYSIS = """
name: anything
version: "1"
title: Every CT volume
inputs:
  ct: {kind: volume, where: {modality: CT}}
steps:
  - {name: body, model: threshold-body, input: ct}
outputs: [dicom-seg]
"""
SOUND = 3
#: ours to make, so that each is a study of its own; those found elsewhere have their own UIDs
CASES = [case for case in (*usual_faults.CASES, *hostile_files.CASES) if case.title[:2] != "41"]


def _rename(folder: Path, number: int) -> None:
    """Give the study of a folder UIDs of its own, of the same length."""
    first, second = divmod(number, 10)
    for path in folder.iterdir():
        data = path.read_bytes()
        path.write_bytes(
            data.replace(b"1.2.3.1.", f"1.{first}.{second}.1.".encode()).replace(
                series.STUDY.encode() + b"\0", f"1.{first}.{second}.1".encode() + b"\0"
            )
        )


def _run(folder: Path) -> Path:
    """Run over all cases and return what it leaves."""
    for number in range(SOUND):
        made = series.write(folder / "export" / f"sound-{number}", series.stack())
        _rename(made, 95 + number)
    for number, case in enumerate(CASES):
        made = folder / "export" / f"{number:03}"
        made.mkdir(parents=True)
        case.make(made)
        _rename(made, number)
    (folder / "anything.yaml").write_text(ANALYSIS)
    environment = os.environ | {"NIGHTSHIFT_HOME": str(folder / "home")}
    register = [str(SCRIPT), "analyses", "register", str(folder / "anything.yaml")]
    subprocess.run(register, env=environment, check=True, timeout=120, capture_output=True)
    words = ["run", str(folder / "export"), "--out", str(folder / "out"), "--analysis", "anything"]
    ended = subprocess.run([str(SCRIPT), *words], env=environment, timeout=280, check=False)
    assert ended.returncode == 4  # finished, but some studies were rejected
    return folder / "out"


def _said(out: Path) -> Mapping[str, set[str]]:
    """Return every reason by the folder of the case."""
    said = defaultdict(set)
    with (out / "skipped.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            said[row["path"].split("/")[0]].add(row["reason"])
    return said


def _wanted(case: Case) -> set[str]:
    """Return the reasons a case must show on its files and series.

    What only the reader of a job finds is in the reason of the job, not of a file.
    """
    of_series = {
        end.split()[1]
        for end in case.series
        if end.startswith("volume series.") or end.endswith(("localizer", "mixed_patients"))
    }
    return {reason.value for reason in case.files} | of_series


def test_every_case_says_why_and_no_sound_study_or_worker_is_lost(tmp_path: Path) -> None:
    out = _run(tmp_path)
    said = _said(out)
    missing = {
        case.title: _wanted(case) - said[f"{number:03}"] for number, case in enumerate(CASES)
    }
    assert {title: reasons for title, reasons in missing.items() if reasons} == {}
    jobs = json.loads((out / "summary.json").read_text())["jobs"]
    assert jobs["failed"] == jobs["canceled"] == 0
    sound = [case for case in CASES if "volume ok" in case.series]
    assert jobs["succeeded"] == SOUND + len(sound)
