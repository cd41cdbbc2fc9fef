"""A training of the quality bench: what it says where it cannot begin."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.quality import training
from bench.quality.few_volumes import ABLATIONS


def test_data_that_are_not_there_are_named(tmp_path: Path) -> None:
    task = ABLATIONS[0].draws[0][0]
    with pytest.raises(training.TrainingEnded, match=f"{task.needs} is not there; --data names"):
        training.train(task, tmp_path / "nowhere", tmp_path / "work")
    assert not (tmp_path / "work").exists()
