"""The verbs as the command line asks them: processes of their own, JSON on stdout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.machine import LUNGS


def ask(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "worker", *words],
        env=os.environ | {"NIGHTSHIFT_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_plan_names_the_clause_that_fails_and_touches_no_database(
    tmp_path: Path, studies: Path
) -> None:
    answer = ask(tmp_path / "home", "plan", str(studies), "--analysis", "ct-lungs")
    assert answer.returncode == 0, answer.stderr
    plan = json.loads(answer.stdout)
    assert plan["files"] == {"file.not_dicom": 1, "ok": 32}
    for study in plan["studies"]:
        (planned,) = study["analyses"]
        assert planned["rejected"]["reason"] == "selection.no_series"
        (considered,) = planned["plan"]["inputs"]["ct"]["considered"]
        failing = [clause["clause"] for clause in considered["clauses"] if not clause["holds"]]
        assert failing == ["maximum_slice_spacing_mm"]
    assert not (tmp_path / "home" / "nightshift.db").exists()


def test_an_unknown_analysis_is_wrong_usage(tmp_path: Path, studies: Path) -> None:
    answer = ask(tmp_path / "home", "plan", str(studies), "--analysis", "no-such")
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "no-such" in answer.stderr


def test_a_sound_document_is_named_and_a_broken_one_lists_its_faults(tmp_path: Path) -> None:
    path = tmp_path / "analysis.yaml"
    path.write_text(LUNGS)
    assert "test-lungs 1 is sound" in ask(tmp_path, "check-analysis", str(path)).stdout
    path.write_text(LUNGS.replace("input: ct", "input: mr"))
    answer = ask(tmp_path, "check-analysis", str(path))
    assert answer.returncode == 1
    assert "mr" in answer.stderr


def test_a_document_is_held_against_the_shipped_models_where_none_is_registered(
    tmp_path: Path,
) -> None:
    path = tmp_path / "analysis.yaml"
    crop = "input: ct, crop: {to: kind}}\n  - {name: kind, model: threshold-body, input: ct}"
    path.write_text(LUNGS.replace("input: ct}", crop))
    assert "test-lungs 1 is sound" in ask(tmp_path, "check-analysis", str(path)).stdout
    path.write_text(LUNGS.replace("input: ct}", crop.replace("to: kind", "to: kind, segments: x")))
    answer = ask(tmp_path, "check-analysis", str(path))
    assert (answer.returncode, answer.stdout) == (1, "")
    assert "step lungs asks step kind for x, but model threshold-body knows body" in answer.stderr
    path.write_text(LUNGS.replace("threshold-lung", "of-my-own"))
    answer = ask(tmp_path, "check-analysis", str(path))
    assert answer.returncode == 0
    assert "model of-my-own is not at hand" in answer.stdout


def test_the_schema_is_json(tmp_path: Path) -> None:
    schema = json.loads(ask(tmp_path, "analysis-schema").stdout)
    assert {"inputs", "steps", "by_default"} <= set(schema["properties"])
