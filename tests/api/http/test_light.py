"""The API starts light: what computes stays in the workers."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = ("torch", "monai", "numpy", "pydicom", "pipeline", "celery", "highdicom", "scipy", "PIL")


def test_importing_the_server_imports_nothing_that_computes() -> None:
    script = "import api.http.server, json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert loaded.isdisjoint(HEAVY)
    assert "fastapi" in loaded
