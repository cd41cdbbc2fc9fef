"""How much memory does one study in flight take, beside its model?

    python -m bench.memory --work FOLDER [--classes 4 25 105]

In a fresh process with a worker's environment: peak of the resident memory after the network alone
ran two batches of windows, then peak while one study is read and predicted. The difference is what
a study takes: its volume, what the network sees of it, sums of windows, labels. Several processes
are asked, since what the allocator keeps of the network's calls may differ between them.

With more classes the sums are cut into blocks, and those that wait for another window still grow
with the classes. Here they may take ``SUMS`` times the int16 volume, which leaves the rest of
``MUST`` to the volume, the image and the labels. Where they would take more, windows are run again;
one process more then tells how much memory and time the same study takes without that bound.
Exits with 1 where a study takes more than ``MUST`` times the int16 volume in any process.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench import ct_export, ct_model
from worker.queue import devices

MUST = 6.0
SUMS = 3.5


def peak() -> int:
    """Return the most bytes that were resident since ``forget_peak``."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    if found is None:
        sys.exit("this system does not say how much memory a process took")
    return 1024 * int(found[1])


def forget_peak() -> None:
    """Measure the peak from now on."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(model: Path, study: Path, threads: int, sums: int | None) -> dict[str, float]:
    """Return what a study takes where its sums may take so many bytes.

    Returns:
        Bytes: of the ``volume`` as int16, of the model and its calls ``alone``, and of the
        ``study``. ``windows`` that were run, those ``again``, and the processor's ``seconds``.

    """
    import torch

    from bench.product import read
    from pipeline.models import bundle, engines, predictors, weights
    from pipeline.models.devices import Device

    device = Device("cpu", threads=threads, sums=sums)
    device.enter_thread()
    loaded = bundle.load(model)
    spec = loaded.spec.input
    with torch.inference_mode():
        windows = torch.rand(engines.default(device).batch, spec.channels, *spec.size)
        network = weights.load(loaded)
        for _ in range(2):
            network(windows)
        del network, windows
    predictor = predictors.open(loaded, device=device)
    alone = peak()
    forget_peak()
    volume = read(study)
    began = time.process_time()
    used = predictor.predict(volume, checkpoint=lambda: None).options
    return {
        "volume": 2 * volume.stored.size,
        "alone": alone,
        "study": max(0, peak() - alone),
        "windows": float(str(used["windows"])),
        "again": float(str(used["windows_again"])),
        "seconds": time.process_time() - began,
    }


def ask(
    options: argparse.Namespace, model: Path, study: Path, sums: int | None
) -> dict[str, float]:
    """Return what one fresh process measured."""
    threads = str(options.threads)
    command = [sys.executable, "-m", "bench.memory", "--work", str(options.work)]
    command += ["--threads", threads, "--serve", str(model), str(study)]
    command += [] if sums is None else ["--sums", str(sums)]
    environment = {**os.environ, **devices.allocator(), "OMP_NUM_THREADS": threads}
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    measured: dict[str, float] = json.loads(said.stdout.splitlines()[-1])
    return measured


def compare(found: list[dict[str, float]], unbounded: dict[str, float]) -> str:
    """Return what was run again, and what that takes and spares, in a sentence."""
    once = found[0]["windows"] - found[0]["again"]
    times = statistics.median(one["seconds"] for one in found) / unbounded["seconds"]
    ratio = unbounded["study"] / unbounded["volume"]
    return (
        f"  {found[0]['windows']:.0f} windows run for {once:.0f}, {times:.1f} times the time; "
        f"without a bound the study takes {ratio:.1f} times the volume"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.memory", description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="where data and results are kept")
    parser.add_argument("--classes", type=int, nargs="+", default=[ct_model.CLASSES, 25, 105])
    parser.add_argument("--rounds", type=int, default=3, help="processes for each")
    parser.add_argument("--slices", type=int, default=120)
    parser.add_argument("--size", type=int, default=512, help="rows and columns")
    parser.add_argument("--threads", type=int, default=devices.usable_cores())
    parser.add_argument("--serve", type=Path, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--sums", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        served, taken = options.serve
        print(json.dumps(measure(served, taken, options.threads, options.sums)))
        return 0
    (study,) = ct_export.make(
        options.work / "data", studies=1, slices=options.slices, size=options.size
    )
    worst, sums = 0.0, int(SUMS * 2 * options.slices * options.size**2)
    for classes in options.classes:
        model = ct_model.make(options.work / "bundles", classes=classes)
        found = [ask(options, model, study, sums) for _ in range(options.rounds)]
        ratios = [one["study"] / one["volume"] for one in found]
        ratio = statistics.median(ratios)
        worst = max(worst, *ratios)
        print(
            f"{classes} classes: volume {found[0]['volume'] / 2**20:.0f} MiB as int16, process "
            f"with its model {statistics.median(one['alone'] for one in found) / 2**20:.0f} MiB, "
            f"study {statistics.median(one['study'] for one in found) / 2**20:.0f} MiB: "
            f"{ratio:.1f} times the volume (must {MUST:g}), range {min(ratios):.1f} to "
            f"{max(ratios):.1f}",
            flush=True,
        )
        if found[0]["again"]:
            print(compare(found, ask(options, model, study, None)), flush=True)
    return 0 if worst <= MUST else 1


if __name__ == "__main__":
    sys.exit(main())
