"""Broken and hostile files, one by one: the stated verdict, and whoever read them reads on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.dicom import made_series as series
from tests.pipeline.dicom.cases.case import Case, hold, named
from tests.pipeline.dicom.cases.hostile_files import CASES


@pytest.mark.parametrize("case", CASES, ids=named(CASES))
def test_it_costs_itself_and_nothing_else(case: Case, tmp_path: Path) -> None:
    bad, sound = tmp_path / "bad", tmp_path / "sound"
    bad.mkdir()
    hold(case, bad)
    # the same process, its children and its server still read what is sound
    assert series.read_volume(series.write(sound, series.stack())).stored.shape[0] == 5
