"""What does the service itself cost a job? From scan row to recorded result with a no-op model.

    python -m bench.overhead --work FOLDER [--jobs 200] [--most-ms 250]

An export of tiny CT studies (4 slices of 16 x 16) goes through ``nightshift run`` with a threshold
mask, whose prediction takes well under a millisecond. So nearly all of the time from the first
claim to the last record is the service: claim, reading child, artifact, transaction, wake-up.
Exits with 1 where a job costs more than ``--most-ms``.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
from collections import defaultdict
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import models
from bench.house import House
from pipeline import phantoms
from pipeline.phantoms.chest import DEFAULT

MODEL = "threshold-body"
ANALYSIS = f"""
name: bench-no-op
version: "1"
title: Next to nothing
inputs:
  ct: {{kind: volume, where: {{modality: CT}}}}
steps:
  - {{name: body, model: {MODEL}, input: ct}}
outputs: [dicom-seg]
"""


def export(folder: Path, jobs: int) -> Path:
    """Write ``jobs`` tiny studies where they are not there yet."""
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        for seed in range(jobs):
            tiny = replace(DEFAULT, shape=(4, 16, 16), spacing=(40.0, 22.0, 22.0), lesions=0)
            phantom = phantoms.chest(replace(tiny, seed=seed))
            phantoms.write_series(phantom, partial / f"{seed:05d}", seed=seed)
        partial.rename(folder)
    return folder


def judge(reports: list[dict[str, Any]], wall: float, most_ms: float) -> int:
    """Print the table; return 0 where the must is met."""
    done = [report for report in reports if report["status"] == "succeeded"]
    moments = [
        (datetime.fromisoformat(report["started"]), datetime.fromisoformat(report["finished"]))
        for report in done
    ]
    span = (max(end for _, end in moments) - min(start for start, _ in moments)).total_seconds()
    stages: dict[str, list[float]] = defaultdict(list)
    for report in done:
        for stage, seconds in report["report"]["seconds"].items():
            stages[stage].append(seconds)
    print(f"{len(done)} of {len(reports)} jobs succeeded; whole command {wall:.1f} s")
    print("\nmedian milliseconds inside a job, by stage (jobs overlap)")
    for stage, seconds in stages.items():
        print(f"  {stage:20}{1000 * statistics.median(seconds):9.1f}")
    each = 1000 * span / len(done)
    print(f"\nfirst claim to last record: {span:.2f} s, {each:.1f} ms a job (must {most_ms:g})")
    return 0 if len(done) == len(reports) and each <= most_ms else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.overhead", description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="where data and results are kept")
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--most-ms", type=float, default=250.0)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    source = export(options.work / f"tiny-{options.jobs}", options.jobs)
    (options.work / "bench-no-op.yaml").write_text(ANALYSIS)
    bundle = Path(next(iter(models.__path__))) / MODEL
    house = House(options.work / "home", bundle=bundle, analysis=options.work / "bench-no-op.yaml")
    out = options.work / "out-overhead"
    summary = house.run(source, out, "--analysis", "bench-no-op")
    return judge(house.reports(out), summary["wall"], options.most_ms)


if __name__ == "__main__":
    sys.exit(main())
