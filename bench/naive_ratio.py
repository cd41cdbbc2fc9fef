"""How many times faster than the MONAI script, with the same labels?

    python -m bench.naive_ratio --work FOLDER [--studies 3] [--slices 120] [--size 512] [--rounds 1]

Both sides get the same files, the same weights, the same overlap and float32. Each runs in a
process of its own: the script with the environment a user has, ours with the one our workers set.
They take turns study by study, since the speed of shared machines drifts. Imports and loading the
model are not counted. CPU seconds are those of the process itself, without our reading child.
Exits with 1 where the ratio or the agreement of labels misses its "must".
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bench import ct_export, ct_model
from worker.queue import devices

MUST_RATIO = 3.0
MUST_AGREE = 0.9999
_OURS = frozenset({*devices.allocator(), "OMP_NUM_THREADS", "MKL_NUM_THREADS"})


class Side:
    """One side of the comparison in a process of its own."""

    def __init__(self, kind: str, work: Path, model: Path, threads: int) -> None:
        plain = {name: value for name, value in os.environ.items() if name not in _OURS}
        tuned = devices.allocator() if kind == "product" else {}
        command = [sys.executable, "-m", "bench.naive_ratio", "--work", str(work)]
        command += ["--threads", str(threads), "--serve", kind, "--model", str(model)]
        self._process = subprocess.Popen(
            command,
            env={**plain, **tuned, "OMP_NUM_THREADS": str(threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, study: Path) -> dict[str, Any]:
        """Let it analyse one study."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{study}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"a side of the benchmark ended with code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def serve(kind: str, work: Path, model: Path, threads: int) -> None:
    """Analyse the studies named on standard input, one JSON line each."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    if kind == "naive":
        from bench.naive import Naive

        side: Any = Naive(model / "models/model.safetensors", work / kind, threads=threads)
    else:
        from bench.product import Product

        side = Product(model, work / kind, threads=threads)
    for line in sys.stdin:
        began = time.process_time()
        answer = side.run(Path(line.strip()))
        answer["cpu"] = time.process_time() - began
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def agreement(first: str, second: str) -> float:
    """Return the share of voxels with the same label, on the same axes."""
    one, two = (
        np.asarray(nib.as_closest_canonical(nib.load(path)).dataobj).squeeze()
        for path in (first, second)
    )
    if one.shape != two.shape:
        sys.exit(f"the label maps have shapes {one.shape} and {two.shape}")
    return float((one == two).mean())


def compare(options: argparse.Namespace) -> int:
    """Run both sides in turns, print the table, return the exit code."""
    studies = ct_export.make(
        options.work / "data", studies=options.studies, slices=options.slices, size=options.size
    )
    model = ct_model.make(options.work / "bundles")
    sides = {
        kind: Side(kind, options.work, model, options.threads) for kind in ("naive", "product")
    }
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in sides}
    agreements = []
    for side in sides.values():
        side.run(studies[0])  # warm: first call of kernels, files into the page cache
    for number in range(options.rounds * len(studies)):
        study = studies[number % len(studies)]
        for kind, side in sides.items():
            found[kind].append(side.run(study))
        labels = (found[kind][-1]["labels"] for kind in ("naive", "product"))
        agreements.append(agreement(*labels))
        print(f"{study.name}: " + _row(found, number) + f", agree {agreements[-1]:.6%}", flush=True)
    for side in sides.values():
        side.close()
    return judge(found, agreements)


def _row(found: dict[str, list[dict[str, Any]]], number: int) -> str:
    return ", ".join(f"{kind} {runs[number]['seconds']:.2f} s" for kind, runs in found.items())


def judge(found: dict[str, list[dict[str, Any]]], agreements: list[float]) -> int:
    """Print stages, ratio and agreement; return 0 where both musts are met."""
    medians = {
        kind: statistics.median(run["seconds"] for run in runs) for kind, runs in found.items()
    }
    ratios = [
        naive["seconds"] / ours["seconds"]
        for naive, ours in zip(found["naive"], found["product"], strict=True)
    ]
    print(f"\n{'':10}{'s/study':>9}{'CPU s':>8}  seconds by stage (medians)")
    for kind, runs in found.items():
        stages = {
            stage: statistics.median(run["stages"][stage] for run in runs)
            for stage in runs[0]["stages"]
        }
        parts = "  ".join(f"{stage} {seconds:.2f}" for stage, seconds in stages.items())
        cpu = statistics.median(run["cpu"] for run in runs)
        print(f"{kind:10}{medians[kind]:9.2f}{cpu:8.2f}  {parts}")
    print(f"our options: {found['product'][-1]['options']}")
    ratio, agree = statistics.median(ratios), min(agreements)
    print(
        f"\nratio {ratio:.2f} (must {MUST_RATIO:g}), range {min(ratios):.2f} to {max(ratios):.2f}"
    )
    print(f"label agreement {agree:.6%} (must {MUST_AGREE:.2%})")
    return 0 if ratio >= MUST_RATIO and agree >= MUST_AGREE else 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.naive_ratio", description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="where data and results are kept")
    parser.add_argument("--studies", type=int, default=3)
    parser.add_argument("--slices", type=int, default=120)
    parser.add_argument("--size", type=int, default=512, help="rows and columns")
    parser.add_argument("--rounds", type=int, default=1, help="times each study is run")
    parser.add_argument("--threads", type=int, default=devices.usable_cores())
    parser.add_argument("--serve", choices=("naive", "product"), help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.work, options.model, options.threads)
        return 0
    return compare(options)


if __name__ == "__main__":
    sys.exit(main())
