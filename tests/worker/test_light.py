"""What must not import torch: seconds of every start, and half a gigabyte of a role that waits."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    ["tasks.desk", "tasks.training", "catalogue", "checking", "manifests", "verifying"],
)
def test_who_predicts_nothing_imports_no_torch(module: str) -> None:
    script = (
        f"import sys, worker.roles, worker.{module}\n"
        "assert not {'torch', 'monai'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
