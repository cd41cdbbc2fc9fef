"""What ships fits together: every analysis with the models it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import analyses
import models
from pipeline.analysis import parse
from pipeline.analysis.fitting import faults
from pipeline.models import bundle

MODALITIES = Path(__file__).parents[3] / "docs" / "modalities.md"
DOCUMENTS = sorted(Path(analyses.__path__[0]).glob("*.yaml"))
SPECS = {
    path.name: bundle.load(path).spec
    for path in Path(models.__path__[0]).iterdir()
    if (path / "configs").is_dir()
}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_every_shipped_analysis_fits_the_models_it_names(path: Path) -> None:
    analysis = parse(path.read_text())
    assert analysis.name == path.stem
    assert {step.model for step in analysis.steps} <= set(SPECS)
    assert faults(analysis, SPECS) == []
    assert "Not for clinical use" in " ".join(analysis.description.split())


def test_every_modality_that_an_analysis_takes_is_described_for_readers() -> None:
    """A row names the modalities in its first cell and the analyses in its fourth."""
    cells = [line.split("|") for line in MODALITIES.read_text().splitlines() if line[:1] == "|"]
    told: dict[str, set[str]] = {}
    named: list[str] = []
    for _, first, *rest in (row for row in cells if len(row) == 7):
        named = re.findall(r"\b[A-Z]{2}[A-Z]*\b", first) or named
        for modality in named:
            told.setdefault(modality, set()).update(re.findall(r"`([a-z-]+)`", rest[2]))
    for path in DOCUMENTS:
        analysis = parse(path.read_text())
        for rule in analysis.inputs.values():
            for modality in rule.where.modality:
                assert analysis.name in told.get(modality, set()), (analysis.name, modality)
