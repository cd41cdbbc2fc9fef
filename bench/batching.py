"""What do small images gain when jobs share forward passes?

    python -m bench.batching [--network narrow] [--size 32] [--jobs 32] [--rounds 9]

The product's own classification predictor, images of ``--size`` pixels, float32, one thread as an
inference process has on two cores, and for all that is measured the environment that the product
gives such a process: the program starts itself again with it. One at a time: each job has a pass of
its own. Together: ``--jobs`` threads ask at once, each image after image, and share passes, as jobs
in flight do. Of one job: one call with as many images, as a study of many images makes it. The
three take turns, since the speed of shared machines drifts: medians are printed, of the ratios that
of each round's. The answers must be the same but for rounding. Exits with 1 where the jobs together
are not ``MUST_RATIO`` times as fast.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from pipeline.models import networks
from pipeline.models.classification import ClassificationPredictor
from pipeline.models.devices import Device
from pipeline.models.spec import InputSpec, Kind, Label, ModelSpec
from pipeline.results import Prediction
from pipeline.volume import Image
from worker.queue import devices

MUST_RATIO = 5.0
MUST_AGREE = 1e-5
#: a night has thousands: the part-empty passes at the start and the end must weigh little
IMAGES_EACH = 16
#: the depth of DenseNet-121 with a quarter of its width, and DenseNet-121 itself
NETWORKS: dict[str, dict[str, Any]] = {
    "narrow": {"init_features": 16, "growth_rate": 8, "block_config": [6, 12, 24, 16]},
    "densenet121": {},
}
Way = Callable[[ClassificationPredictor, list[Image]], list[Prediction]]


def predictor(network: str, size: int, jobs: int, device: Device) -> ClassificationPredictor:
    arguments = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, **NETWORKS[network]}
    torch.manual_seed(0)
    built = networks.build("DenseNet", arguments).eval()
    spec = ModelSpec(
        name="bench-batching",
        version="1",
        kind=Kind.CLASSIFICATION,
        title="A small network of the benchmark",
        input=InputSpec(modalities=("OT",), spatial_dims=2, window=(0.0, 1.0), size=(size, size)),
        labels=(Label(number=0, name="no"), Label(number=1, name="yes")),
        network="DenseNet",
        network_arguments=arguments,
        options={"batch": jobs},
    )
    return ClassificationPredictor(spec, built, device)


def go_on() -> None:
    """Stand for a checkpoint that never stops."""


def one_at_a_time(model: ClassificationPredictor, images: list[Image]) -> list[Prediction]:
    return [model.predict(image, checkpoint=go_on) for image in images]


def together(pool: Executor, jobs: int) -> Way:
    """Let as many jobs as share a pass be in flight, each in a thread of its own."""

    def ask(model: ClassificationPredictor, images: list[Image]) -> list[Prediction]:
        each = [images[job::jobs] for job in range(jobs)]
        answers = pool.map(lambda of_job: one_at_a_time(model, of_job), each)
        return [one for at_once in zip(*answers, strict=True) for one in at_once]

    return ask


def of_one_job(model: ClassificationPredictor, images: list[Image]) -> list[Prediction]:
    return model.predict_many(images, checkpoint=go_on)


def ways(pool: Executor, jobs: int) -> dict[str, Way]:
    """Return the ways by name."""
    return {
        "one at a time": one_at_a_time,
        "jobs together": together(pool, jobs),
        "images of one job": of_one_job,
    }


def furthest(first: list[Prediction], second: list[Prediction]) -> float:
    """Return the largest difference of any two scores."""
    return max(
        abs(float(one.score) - float(other.score))
        for a, b in zip(first, second, strict=True)
        for one, other in zip(a.findings, b.findings, strict=True)
        if hasattr(one, "score") and hasattr(other, "score")
    )


def as_a_worker(threads: int) -> None:
    """Go on in the environment of an inference process: start anew where this is another one."""
    count = str(threads)
    needed = {**devices.allocator(), "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}
    if not needed.items() <= os.environ.items():
        command = [sys.executable, "-m", "bench.batching", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **needed})  # noqa: S606 - itself


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.batching", description=__doc__.split("\n")[0])
    parser.add_argument("--network", default="narrow", choices=sorted(NETWORKS))
    parser.add_argument("--size", type=int, default=32, help="pixels along each side")
    parser.add_argument("--jobs", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    as_a_worker(options.threads)
    device = Device(options.device, threads=options.threads)
    model = predictor(options.network, options.size, options.jobs, device)
    generator = np.random.default_rng(0)
    images = [
        Image(pixels=generator.random((1, options.size, options.size), np.float32))
        for _ in range(options.jobs * IMAGES_EACH)
    ]
    with ThreadPoolExecutor(options.jobs) as pool:
        seconds, said = measure(ways(pool, options.jobs), model, images, options.rounds)
    off = max(furthest(said["one at a time"], found) for found in said.values())
    print(f"{options.network}, {len(images)} images of {options.size} x {options.size}, medians")
    print(f"  {'':20}{'ms an image':>12}{'times':>7}{'CPU ms':>8}{'times':>7}{'in a pass':>11}")
    ratio = judge(seconds, said, len(images))
    print(f"scores differ by at most {off:.1e} (must {MUST_AGREE:g})")
    print(f"jobs together: {ratio:.1f} times one at a time (must {MUST_RATIO:g})")
    return 0 if ratio >= MUST_RATIO and off <= MUST_AGREE else 1


def measure(
    asked: dict[str, Way], model: ClassificationPredictor, images: list[Image], rounds: int
) -> tuple[dict[str, list[tuple[float, float]]], dict[str, list[Prediction]]]:
    """Return (seconds, CPU seconds) of each round and the last answers, by way."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in asked}
    # warm: threads as a worker has them, first calls of kernels
    said = {name: way(model, images) for name, way in asked.items()}
    for _ in range(rounds):
        for name, way in asked.items():
            began = time.perf_counter(), time.process_time()
            said[name] = way(model, images)
            ended = time.perf_counter(), time.process_time()
            seconds[name].append((ended[0] - began[0], ended[1] - began[1]))
    return seconds, said


def judge(
    seconds: dict[str, list[tuple[float, float]]], said: dict[str, list[Prediction]], images: int
) -> float:
    """Print a line for each way; return how many times as fast jobs together are."""
    walls = {name: np.array([wall for wall, _ in runs]) for name, runs in seconds.items()}
    cpus = {name: np.array([cpu for _, cpu in runs]) for name, runs in seconds.items()}
    alone = "one at a time"
    ratios = {name: float(np.median(walls[alone] / wall)) for name, wall in walls.items()}
    for name in seconds:
        wall, cpu = float(np.median(walls[name])), float(np.median(cpus[name]))
        company = statistics.mean(int(str(one.options["together"])) for one in said[name])
        print(
            f"  {name:20}{1000 * wall / images:12.2f}{ratios[name]:7.1f}"
            f"{1000 * cpu / images:8.2f}{float(np.median(cpus[alone] / cpus[name])):7.1f}"
            f"{company:11.0f}"
        )
    return ratios["jobs together"]


if __name__ == "__main__":
    sys.exit(main())
