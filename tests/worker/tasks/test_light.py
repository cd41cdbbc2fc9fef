"""What the roles import that wait, scan and watch: seconds of every start, and half a gigabyte."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("role", ["desk", "training"])
def test_a_role_that_predicts_nothing_imports_no_torch(role: str) -> None:
    script = (
        f"import sys, worker.roles, worker.catalogue, worker.tasks.{role}\n"
        "assert not {'torch', 'monai'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
