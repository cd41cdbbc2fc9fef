"""``nightshift models register`` and ``check``, through to ``models show``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.pipeline.models.intake import made

if TYPE_CHECKING:
    from tests.api.cli.conftest import Home, Shell


@pytest.fixture
def brought(tmp_path: Path) -> Path:
    """A bundle in MONAI's layout as somebody brings it, zipped in one folder."""
    folder = made.write(tmp_path / "brought")
    return made.zipped(folder, tmp_path / "spleen.zip", top="spleen/")


@pytest.mark.system
def test_a_bundle_of_monai_is_registered_promoted_and_shown(
    home: Home, shell: Shell, brought: Path
) -> None:
    said = shell("models", "register", str(brought), "--promote", "--why", "the first", "--json")
    assert said.code == 0, said.err
    assert (said.json["name"], said.json["stage"]) == ("spleen-in-ct", "active")
    assert list(said.json["left_out"]) == ["scripts/__init__.py"]
    shown = shell("models", "show", "spleen-in-ct", "--json").json
    assert shown["digest"] == said.json["digest"]
    assert shown["metadata"]["nightshift"]["program"] == "configs/inference.json"
    events = [row["event_id"] for row in shell("audit", "list", "--json").json]
    assert {"model.registered", "model.promoted"} <= set(events)


@pytest.mark.system
def test_a_check_tells_every_fault_and_registers_nothing(
    home: Home, shell: Shell, tmp_path: Path
) -> None:
    metadata = made.changed(made.METADATA, "network_data_format.inputs.image.modality", "n/a")
    path = made.write(tmp_path / "brought", metadata=metadata)
    (path / "models/model.pt").unlink()
    said = shell("models", "check", str(path))
    assert said.code == 1
    assert said.out.splitlines()[0] == "Refused, 2 faults:"
    assert "--modality" in said.out
    assert "models/model.pt is missing" in said.out
    assert [row["name"] for row in shell("models", "list", "--json").json] == ["threshold-lung"]


def test_wrong_words_are_wrong_usage(home: Home, shell: Shell, tmp_path: Path) -> None:
    for words, sentence in (
        (("register", str(tmp_path), "--promote"), "--promote and --why go together"),
        (("register", str(tmp_path), "--why", "x"), "--promote and --why go together"),
    ):
        said = shell("models", *words)
        assert said.code == 2
        assert sentence in said.err
