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
