"""``nightshift models tune``: what runs fastest is measured, shown and kept for the workers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.pipeline.models.program import cases

if TYPE_CHECKING:
    from tests.api.cli.conftest import Home, Shell


@pytest.mark.system
def test_a_registered_model_is_measured_and_its_choice_kept(
    home: Home, shell: Shell, tmp_path: Path
) -> None:
    brought = cases.ORGANS.write(tmp_path / "brought")
    added = shell("models", "register", str(brought.folder), "--promote", "--why", "1st", "--json")
    assert added.code == 0, added.err
    said = shell("models", "tune", brought.spec.name, "--seconds", "1", "--json")
    assert said.code == 0, said.err
    first = said.json["trials"][0]
    assert (first["choice"]["dtype"], first["agreement"]) == ("float32", 1.0)
    assert first["seconds"] > 0
    (kept,) = json.loads((home.path / "tuned.json").read_text()).values()
    assert kept["choice"] == said.json["choice"]


def test_what_is_not_registered_is_not_measured(home: Home, shell: Shell) -> None:
    said = shell("models", "tune", "nobody-knows")
    assert said.code == 1
    assert "No version of nobody-knows is active" in said.err
    assert "models list" in said.err
