"""A Nightshift home of a benchmark's own: migrated, with one model and one analysis registered."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from records import database
from worker import catalogue
from worker.queue.settings import Settings
from worker.services import make_services

COMMAND = Path(sys.executable).parent / "nightshift"


class House:
    """Where ``nightshift run`` is measured as a user would run it."""

    def __init__(self, folder: Path, *, bundle: Path, analysis: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        settings = Settings(home=folder)
        database.upgrade(settings.database)
        services = make_services(settings)
        catalogue.register_bundle(services, bundle)
        catalogue.register_analysis(services, analysis)

    def run(self, export: Path, out: Path, *words: str) -> dict[str, Any]:
        """Run the whole command; return its summary and ``wall``, its seconds."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("NIGHTSHIFT_")}
        environment["NIGHTSHIFT_HOME"] = str(self.folder)
        shutil.rmtree(out, ignore_errors=True)
        began = time.perf_counter()
        command = [str(COMMAND), "run", str(export), "--out", str(out), *words]
        quiet = subprocess.DEVNULL
        subprocess.run(command, env=environment, check=True, stdout=quiet, stderr=quiet)
        wall = time.perf_counter() - began
        summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
        return summary | {"wall": wall}

    def reports(self, out: Path) -> list[dict[str, Any]]:
        """Return ``job.json`` of every job of a run."""
        return [json.loads(path.read_text()) for path in sorted(out.glob("studies/*/*/job.json"))]
