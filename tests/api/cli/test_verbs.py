"""Every verb is where the table says, and loads nothing of the others."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from api.cli.verbs import PANELS, Verbs


@pytest.mark.parametrize(
    ("panel", "name"), [(panel, name) for panel, verbs in PANELS.items() for name in verbs]
)
def test_a_verb_is_found_under_its_name_and_on_its_panel(panel: str, name: str) -> None:
    command = Verbs()[name]
    assert command.name == name
    assert command.rich_help_panel == panel
    assert command.help


def test_no_verb_stands_on_two_panels() -> None:
    assert len(Verbs()) == sum(map(len, PANELS.values()))


def test_what_is_no_verb_is_not_found() -> None:
    assert Verbs().get("fly") is None


def test_a_verb_loads_no_other() -> None:
    script = """
import json, sys
from api.cli.verbs import Verbs

Verbs()["api"]
print(json.dumps([name for name in sys.modules if name.startswith("api.cli.")]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    loaded = {name.removeprefix("api.cli.") for name in json.loads(done.stdout)}
    assert loaded == {"verbs", "services", "printing", "context", "outcome", "signals"}
