from __future__ import annotations

import json
import subprocess
import sys

WORDS = """
import logging, warnings
import structlog
from worker.logging import configure
configure("INFO", role="infer")
log = structlog.get_logger()
logging.getLogger("pydicom").error("Invalid value DOE^JANE")
warnings.warn("Invalid value DOE^JANE")
with structlog.contextvars.bound_contextvars(job="j", attempt=2):
    try:
        raise ValueError("PatientName DOE^JANE")
    except ValueError:
        log.exception("job.ended", reason="run.error")
logging.getLogger("celery").warning("a line of a library")
"""


def test_lines_are_json_with_ids_and_without_what_libraries_quote() -> None:
    done = subprocess.run([sys.executable, "-c", WORDS], capture_output=True, text=True, check=True)
    assert "DOE" not in done.stderr
    ended, library = (json.loads(line) for line in done.stderr.splitlines())
    assert (ended["job"], ended["attempt"], ended["role"]) == ("j", 2, "infer")
    assert (ended["error"], ended["reason"]) == ("ValueError", "run.error")
    assert ended["places"]
    assert library["event"] == "a line of a library"
