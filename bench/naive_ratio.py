"""How many times faster than the MONAI script, with the same labels?

    python -m bench.naive_ratio --work FOLDER [--studies 3] [--slices 120] [--size 512] [--rounds 1]
        [--allocator] [--tune]

All sides get the same files, the same weights and the same overlap: the script, which computes in
float32; ours in float32, whose labels must be the script's; and ours in bfloat16 where the
processor multiplies that clearly faster. Each runs in a process of its own: the script with the
environment a user has, ours with the one our workers set; ``--allocator`` adds ours in float32
without that environment, ``--tune`` lets ours be tuned first. They take turns study by study, since
the speed of shared machines drifts. Imports and loading the model are not counted. CPU seconds are
those of the process itself, without our reading child. The window loop is calls of the network,
cutting windows out and adding answers up.

Exits with 1 where a ratio, the agreement of labels or the share of calls in the window loop misses
its "must".
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

MUST_RATIO = {"float32": 4.0, "bfloat16": 7.0}
MUST_AGREE = 0.999999
MUST_LOOP = 0.9
#: where a product takes less than this share of float32's time, a processor has bfloat16. Some say
#: so and take as long as for float32
FAST_BFLOAT16 = 0.7
_OURS = frozenset({*devices.allocator(), "OMP_NUM_THREADS", "MKL_NUM_THREADS"})


class Side:
    """One side of the comparison in a process of its own."""

    def __init__(self, kind: str, work: Path, model: Path, threads: int, *, tune: bool) -> None:
        plain = {name: value for name, value in os.environ.items() if name not in _OURS}
        tuned = devices.allocator() if kind in MUST_RATIO else {}
        command = [sys.executable, "-m", "bench.naive_ratio", "--work", str(work)]
        command += ["--threads", str(threads), "--serve", kind, "--model", str(model)]
        command += ["--tune"] * tune
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


def serve(kind: str, work: Path, model: Path, threads: int, *, tune: bool) -> None:
    """Analyse the studies named on standard input, one JSON line each."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    if kind == "naive":
        from bench.naive import Naive

        side: Any = Naive(model / "models/model.safetensors", work / kind, threads=threads)
    else:
        from bench.product import Product

        tuned = work / "tuned.json" if tune else None
        side = Product(model, work / kind, threads=threads, tuned=tuned)
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


def bfloat16_share() -> float:
    """Return the time of a product of matrices in bfloat16, as a share of that in float32."""
    import torch

    sides = [torch.rand(1024, 1024).to(dtype) for dtype in (torch.float32, torch.bfloat16)]
    spent: list[list[float]] = [[], []]
    for _ in range(10):
        for side, seconds in zip(sides, spent, strict=True):
            began = time.perf_counter()
            torch.mm(side, side)
            seconds.append(time.perf_counter() - began)
    return min(spent[1]) / min(spent[0])


def compare(options: argparse.Namespace) -> int:
    """Run all sides in turns, print the table, return the exit code."""
    studies = ct_export.make(
        options.work / "data", studies=options.studies, slices=options.slices, size=options.size
    )
    kinds = ["naive", "float32"] + ["plain memory"] * options.allocator
    share = bfloat16_share()
    is_fast = share < FAST_BFLOAT16
    left_out = "" if is_fast else f", more than {FAST_BFLOAT16:g}: that side is left out"
    print(f"a product of bfloat16 takes {share:.2f} of the time of one of float32{left_out}")
    kinds += ["bfloat16"] * is_fast
    sides = {}
    for kind in kinds:
        dtype = kind if kind in MUST_RATIO else "float32"
        model = ct_model.make(options.work / "bundles", dtype=dtype)
        sides[kind] = Side(kind, options.work, model, options.threads, tune=options.tune)
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in sides}
    for side in sides.values():
        side.run(studies[0])  # warm: first call of kernels, files into the page cache
    for number in range(options.rounds * len(studies)):
        study = studies[number % len(studies)]
        for kind, side in sides.items():
            found[kind].append(side.run(study))
            theirs = found["naive"][-1]["labels"]
            found[kind][-1]["agree"] = agreement(theirs, found[kind][-1]["labels"])
        print(f"{study.name}: " + _row(found, number), flush=True)
    for side in sides.values():
        side.close()
    return judge(found)


def _row(found: dict[str, list[dict[str, Any]]], number: int) -> str:
    return ", ".join(
        f"{kind} {runs[number]['seconds']:.2f} s ({runs[number]['agree']:.6%} equal)"
        for kind, runs in found.items()
    )


def judge(found: dict[str, list[dict[str, Any]]]) -> int:
    """Print stages, ratios and agreement; return 0 where every must is met."""
    print(f"\n{'':14}{'s/study':>9}{'CPU s':>8}  seconds by stage (medians)")
    for kind, runs in found.items():
        stages = {
            stage: statistics.median(run["stages"][stage] for run in runs)
            for stage in runs[0]["stages"]
        }
        parts = "  ".join(f"{stage} {seconds:.2f}" for stage, seconds in stages.items())
        seconds, cpu = (statistics.median(run[name] for run in runs) for name in ("seconds", "cpu"))
        print(f"{kind:14}{seconds:9.2f}{cpu:8.2f}  {parts}")
    print(f"our options: {found['float32'][-1]['options']}\n")
    missed = 0
    for kind, runs in found.items():
        if kind != "naive":
            missed += _judge_side(kind, runs, found["naive"])
    agree = min(run["agree"] for run in found["float32"])
    print(f"float32 labels equal to the script's: {agree:.6%} (must {MUST_AGREE:.4%})")
    return 1 if missed or agree < MUST_AGREE else 0


def _judge_side(kind: str, runs: list[dict[str, Any]], naive: list[dict[str, Any]]) -> int:
    """Print how one of our sides compares with the script; return how many musts it missed."""
    ratios = [one["seconds"] / run["seconds"] for one, run in zip(naive, runs, strict=True)]
    ratio, must = statistics.median(ratios), MUST_RATIO.get(kind)
    calls = [run["stages"]["model"] for run in runs]
    loop = statistics.median(
        run["stages"]["model"] / (run["stages"]["model"] + run["stages"]["stitch"]) for run in runs
    )
    floor = statistics.median(call / run["seconds"] for call, run in zip(calls, runs, strict=True))
    print(
        f"{kind}: {ratio:.2f} times as fast{f' (must {must:g})' if must else ''}, range "
        f"{min(ratios):.2f} to {max(ratios):.2f}; {loop:.1%} of the window loop in calls of the "
        f"network (must {MUST_LOOP:.0%}); {floor:.0%} of all"
    )
    return 0 if must is None else (ratio < must) + (loop < MUST_LOOP)


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.naive_ratio", description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="where data and results are kept")
    parser.add_argument("--studies", type=int, default=3)
    parser.add_argument("--slices", type=int, default=120)
    parser.add_argument("--size", type=int, default=512, help="rows and columns")
    parser.add_argument("--rounds", type=int, default=1, help="times each study is run")
    parser.add_argument("--threads", type=int, default=devices.usable_cores())
    parser.add_argument("--allocator", action="store_true", help="also without our allocator")
    parser.add_argument("--tune", action="store_true", help="choose layout and batch first")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.work, options.model, options.threads, tune=options.tune)
        return 0
    return compare(options)


if __name__ == "__main__":
    sys.exit(main())
