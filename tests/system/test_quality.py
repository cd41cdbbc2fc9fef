"""The smaller form of ``make bench-quality``, on public data where they are at hand."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import data


@pytest.mark.timeout(900)
def test_a_minute_of_learning_tells_pneumonia_from_normal_chests(tmp_path: Path) -> None:
    labelled = data.shared("labelled", "cls_pneumoniamnist").parent
    words = ["--small", "--data", str(labelled.parent), "--work", str(tmp_path), "--threads", "1"]
    ended = subprocess.run(
        [sys.executable, "-m", "bench.quality", *words],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "| small | pneumonia auc |" in ended.stdout
    assert "missed" not in ended.stdout
