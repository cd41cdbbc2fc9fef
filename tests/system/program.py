"""The command line as its users have it: a process of its own, on a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import highdicom as hd

SCRIPT: Final = Path(sys.executable).parent / "nightshift"


class Program:
    """The command line on a home of its own."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.out = folder / "out"
        self._folder, self._source = folder, source
        self._environment = os.environ | {
            "NIGHTSHIFT_HOME": str(folder / "home"),
            # tests share the cores already: a second process would import torch for nothing
            "NIGHTSHIFT_INFERENCE_PROCESSES": "1",
        }

    def __call__(self, *words: str, status: int = 0) -> str:
        """Run a command, which has to end with this exit code, and return all that it says."""
        done = subprocess.run(
            [str(SCRIPT), *words],
            env=self._environment,
            check=False,
            timeout=240,
            capture_output=True,
            text=True,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def run(self, *documents: str, options: tuple[str, ...] = (), status: int = 0) -> str:
        """Run documents over the source."""
        words = ["run", str(self._source), "--out", str(self.out), *options]
        for number, document in enumerate(documents):
            path = self._folder / f"{number}.yaml"
            path.write_text(document)
            words += ["--analysis", str(path)]
        return self(*words, status=status)

    def jobs(self, analysis: str) -> list[dict[str, Any]]:
        """Return every job.json of an analysis."""
        found = (json.loads(path.read_text()) for path in self.out.glob("studies/*/*/job.json"))
        return [job for job in found if job["analysis"]["name"] == analysis]

    def masks(self, job: dict[str, Any]) -> dict[str, hd.Volume]:
        """Return what each step segmented, read by highdicom."""
        folder = self.out / "studies" / job["study"] / job["job"]
        read = {path.stem: hd.seg.segread(path) for path in folder.glob("*.dcm")}
        return {name: seg.get_volume(combine_segments=True) for name, seg in read.items()}
