"""``nightshift drift``."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.api.cli.conftest import Home, Shell
from tests.records.answered import AT, Answered, scores
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


def test_a_page_that_cannot_be_written_is_said_in_a_sentence(
    shell: Shell, home: Home, tmp_path: Path
) -> None:
    look(home.sessions, drifted=True)
    said = shell("drift", "--page", str(tmp_path / "missing" / "drift.html"))
    assert said.code == 1
    assert "The page cannot be written: No such file or directory." in said.err


@pytest.mark.system
def test_a_look_against_a_stated_time_is_shown_and_not_kept(shell: Shell, home: Home) -> None:
    world = Answered(home.sessions)
    for number in range(40):
        at = AT + timedelta(days=number)
        world.job(number, scores(0.9), attributes={"manufacturer": "Acme"}, finished_at=at)
    words = ("drift", "--analysis", "light")
    (row,) = shell(*words, "--until", "2026-01-11", "--json").json
    assert (row["analysis"], row["document"]["reference"]["jobs"]) == ("light", 10)
    assert (row["since"], row["document"]["current"]["jobs"]) == (None, 30)
    assert shell(*words, "--json").json == []
