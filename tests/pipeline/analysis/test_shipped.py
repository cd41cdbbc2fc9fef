"""What ships fits together: every analysis with the models it names."""

from __future__ import annotations

from pathlib import Path

import pytest

import analyses
import models
from pipeline.analysis import parse
from pipeline.analysis.fitting import faults
from pipeline.models import bundle

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
