"""How many times faster than the MONAI script is the whole service, with the same labels?

    python -m bench.service_ratio --work FOLDER [--studies 6] [--rounds 1]

``nightshift run`` on an export (scan, plan, database, queue, read, predict, DICOM SEG, pictures,
report) against the script of ``bench.naive`` (read, predict, write NIfTI) over the same files with
the same seeded network in float32, in turns. Two ratios are printed: of whole processes, start-up
and imports included on both sides, and of the work alone: from the first claim to the last
record, against the script without its imports. Exits with 1 where the ratio of the work or the
agreement of labels misses its "must".
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import highdicom as hd
import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from bench import ct_export, ct_model
from bench.house import House
from worker.queue import devices

MUST_RATIO = 3.0
MUST_AGREE = 0.999999
ANALYSIS = f"""
name: bench-ct
version: "1"
title: The network of the benchmark
inputs:
  ct: {{kind: volume, where: {{modality: CT}}}}
steps:
  - {{name: classes, model: {ct_model.NAME}, input: ct}}
outputs: [dicom-seg, overlay]
"""


def naive(work: Path, studies: list[Path], model: Path) -> dict[str, float]:
    """Run the script over all studies in one process; return its seconds."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "bench.service_ratio", "--work", str(work)]
    command += ["--script", str(model), *map(str, studies)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {"wall": time.perf_counter() - began, "work": json.loads(said.splitlines()[-1])}


def script(work: Path, model: Path, studies: list[Path]) -> None:
    """Be the script: print the seconds of the loop over the studies."""
    from bench.naive import Naive

    side = Naive(model / "models/model.safetensors", work / "naive", threads=devices.usable_cores())
    began = time.perf_counter()
    for study in studies:
        side.run(study)
    print(json.dumps(time.perf_counter() - began))


def service(house: House, export: Path, out: Path) -> dict[str, float]:
    """Run ``nightshift run``; return its seconds."""
    summary = house.run(export, out, "--analysis", "bench-ct")
    reports = house.reports(out)
    started = min(datetime.fromisoformat(report["started"]) for report in reports)
    finished = max(datetime.fromisoformat(report["finished"]) for report in reports)
    return {"wall": summary["wall"], "work": (finished - started).total_seconds()}


def labels_of(out: Path, work: Path, study: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the script's and the service's label maps of one study on the same axes."""
    import pydicom

    one = nib.as_closest_canonical(nib.load(work / "naive" / f"{study.name}.nii.gz"))
    header = pydicom.dcmread(ct_export.dicom_files(study)[0], stop_before_pixels=True)
    (path,) = (out / "studies" / str(header.StudyInstanceUID)).glob("*/*.dcm")
    volume = hd.seg.segread(path).get_volume(combine_segments=True)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine
    ours = nib.as_closest_canonical(nib.Nifti1Image(volume.array.astype(np.uint8), affine))
    return np.asarray(one.dataobj).squeeze(), np.asarray(ours.dataobj)


def compare(options: argparse.Namespace) -> int:
    """Run both sides in turns, print the table, return the exit code."""
    data = options.work / f"export-{options.studies}"
    studies = ct_export.make(
        data, studies=options.studies, slices=options.slices, size=options.size
    )
    model = ct_model.make(options.work / "bundles")
    (options.work / "bench-ct.yaml").write_text(ANALYSIS)
    house = House(options.work / "home", bundle=model, analysis=options.work / "bench-ct.yaml")
    rows = []
    for number in range(options.rounds):
        out = options.work / f"out-{number}"
        rows.append((naive(options.work, studies, model), service(house, data, out)))
        print(f"round {number}: script {rows[-1][0]}, service {rows[-1][1]}", flush=True)
    agree = min(
        float((one == two).mean())
        for one, two in (labels_of(out, options.work, study) for study in studies)
    )
    return judge(rows, agree, options.studies)


def judge(rows: list[tuple[dict[str, float], dict[str, float]]], agree: float, count: int) -> int:
    """Print the table; return 0 where both musts are met."""
    ratios = {}
    print(
        f"\n{'':22}{'script':>10}{'service':>10}{'ratio':>8}   seconds per study, {count} studies"
    )
    for measure, said in (("wall", "whole processes"), ("work", "the work alone")):
        script_s = statistics.median(row[0][measure] for row in rows) / count
        service_s = statistics.median(row[1][measure] for row in rows) / count
        ratios[measure] = statistics.median(row[0][measure] / row[1][measure] for row in rows)
        print(f"{said:22}{script_s:10.2f}{service_s:10.2f}{ratios[measure]:8.2f}")
    print(f"\nratio of the work {ratios['work']:.2f} (must {MUST_RATIO:g})")
    print(f"label agreement {agree:.6%} (must {MUST_AGREE:.4%})")
    return 0 if ratios["work"] >= MUST_RATIO and agree >= MUST_AGREE else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.service_ratio", description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="where data and results are kept")
    parser.add_argument("--studies", type=int, default=6)
    parser.add_argument("--slices", type=int, default=120)
    parser.add_argument("--size", type=int, default=512, help="rows and columns")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--script", type=Path, nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.script:
        script(options.work, options.script[0], options.script[1:])
        return 0
    return compare(options)


if __name__ == "__main__":
    sys.exit(main())
