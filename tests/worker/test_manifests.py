from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from tests import quick_training
from worker import manifests


@pytest.mark.parametrize(("seconds", "lines"), [(0.0, 8), (3600.0, 0)])
def test_a_check_says_how_far_it_is_and_then_what_it_found(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    lines: int,
) -> None:
    monkeypatch.setattr(manifests, "SECONDS_BETWEEN_LINES", seconds)
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path / "home"))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(quick_training.CLASSIFICATION))
    rows = [(f"{number}.npy", "dark", f"p{number}", "train") for number in range(8)]
    table = quick_training.write_manifest(tmp_path, rows)
    for name, *_ in rows:
        (tmp_path / name).write_bytes(b"no picture")
    words = argparse.Namespace(recipe=recipe, manifest=table)
    assert manifests.check_manifest(words) == 1
    *told, report = map(json.loads, capsys.readouterr().out.splitlines())
    assert told == [{"read": read, "of": 8} for read in range(lines)]
    assert len(report["faults"]) >= 8


@pytest.mark.parametrize(("is_whole", "code"), [(True, 0), (False, 1)])
def test_cases_are_checked_for_an_automatic_recipe_too(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_whole: bool,
    code: int,
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path / "home"))
    asked = {"auto": "classification", "name": "quick", "title": "Quick", "modalities": ["OT"]}
    recipe = tmp_path / "auto.yaml"
    recipe.write_text(json.dumps(asked))
    table = quick_training.write_images(tmp_path)
    if not is_whole:
        next(tmp_path.glob("*.npy")).write_bytes(b"no picture")
    words = argparse.Namespace(recipe=recipe, manifest=table)
    assert manifests.check_manifest(words) == code
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [fault["column"] for fault in report["faults"]] == [] if is_whole else ["image"]
    recipe.write_text(json.dumps(asked | {"minutes": -1}))
    assert manifests.check_manifest(words) == 2
