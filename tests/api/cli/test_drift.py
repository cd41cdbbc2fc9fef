"""``nightshift drift``."""

from __future__ import annotations

from pathlib import Path

from tests.api.cli.conftest import Home, Shell
from tests.records.looked import look


def test_a_drift_is_told_with_its_values(shell: Shell, home: Home, tmp_path: Path) -> None:
    assert "No look was taken yet." in shell("drift").err
    look(home.sessions, drifted=True)
    said = shell("drift", "--analysis", "light", "--page", str(tmp_path / "drift.html"))
    assert said.code == 0
    assert "tag.model_name" in said.out
    assert "Drift in tag.model_name" in (tmp_path / "drift.html").read_text()
    (row,) = shell("drift", "--json").json
    assert (row["analysis"], row["drifted"]) == ("light", True)
    assert shell("drift", "--analysis", "other", "--json").json == []
