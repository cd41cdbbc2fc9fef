"""Threads or prefork? The same batch through both Celery pools, with real processes.

    python -m bench.pool --work FOLDER [--studies 24]

Threads: one process holds the models and carries three jobs at once, so that reading and writing
of some overlap the predictions of another. Prefork: one spawned child, one job at a time. Both
run the product's own task on the same broker, desk and database, with the same number of torch
threads in all. Prints jobs per second and the memory of the inference processes.
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from multiprocessing import process
from pathlib import Path
from uuid import UUID

from celery import shared_task

from pipeline.phantoms.chest import DEFAULT as CHEST
from records import database
from tests.machine import machine, write_studies
from worker import dispatch, tasks
from worker.catalogue import register_analysis
from worker.heartbeat import Heartbeat
from worker.queue import messages
from worker.queue.app import make_app
from worker.queue.devices import usable_cores
from worker.queue.processes import say_ready
from worker.queue.settings import Settings
from worker.services import Services, make_services

ANALYSIS = """
name: bench-pool
version: "1"
title: Lungs and nodules
inputs:
  ct: {kind: volume, where: {modality: CT}}
steps:
  - {name: lungs, model: threshold-lung, input: ct}
  - {name: nodules, model: demo-ct-nodule-segmentation, input: ct}
outputs: [dicom-seg, overlay]
"""


class _NoDaemon(process.BaseProcess):
    """What the standard library takes the current process for where nobody replaced it."""

    def __init__(self) -> None:
        self._identity, self._name, self._parent_pid = (), "MainProcess", None
        self._popen, self._closed = None, False
        key = process.AuthenticationString(os.urandom(32))
        self._config = {"authkey": key, "semprefix": "/mp"}


@functools.cache
def _child_services() -> Services:
    """Make the services of a prefork child, with its own heartbeat.

    Billiard makes that child a daemon of its own kind, which may have no children: it cannot read
    a series in a process that may die. A reason of its own against this pool; taken off here, by
    force, to compare the rest.
    """
    process.__dict__["_current_process"] = _NoDaemon()
    settings = Settings()
    services = make_services(settings)
    Heartbeat(services.flights, services.sessions, stop_grace=settings.stop_grace).start()
    return services


@shared_task(name=messages.RUN_JOB)
def run_job(job_id: str) -> None:
    """Run one job, as ``worker.tasks`` does in a thread."""
    services = _child_services()
    tasks.carry_job(UUID(job_id), services)
    dispatch.dispatch_jobs(services)


def serve_prefork() -> None:
    """Run a prefork worker with one spawned child; the parent never imports torch."""
    app = make_app(Settings())
    app.conf.update(worker_pool_start_method="spawn", include=["bench.pool"])
    app.set_current()
    app.set_default()
    say_ready()
    app.Worker(
        pool="prefork",
        concurrency=1,
        queues=list(messages.INFER_QUEUES),
        hostname=f"prefork-{os.getpid()}@bench",
        without_gossip=True,
        without_mingle=True,
    ).start()


@dataclass(frozen=True)
class Layout:
    """One way to fill the machine: a pool, and how many processes of it."""

    pool: str
    processes: int


LAYOUTS = tuple(Layout(pool, count) for count in (1, 2) for pool in ("threads", "prefork"))


def measure(work: Path, source: Path, layout: Layout) -> tuple[float, float]:
    """Return (seconds per job, MiB of all inference processes) of one layout."""
    url = f"sqlite:///{work / 'bench.db'}"
    database.upgrade(url)
    threads = max(1, usable_cores() // layout.processes)
    command = None
    if layout.pool == "prefork":
        # no ``-m``: readers import a program's main module again, and this one is heavy
        command = (sys.executable, "-c", "from bench import pool; pool.serve_prefork()")
    with machine(work, url, processes=layout.processes, infer=command, threads=threads) as here:
        document = work / "analysis.yaml"
        document.write_text(ANALYSIS)
        register_analysis(make_services(here.settings), document)
        here.supervisor.wait_ready()
        here.finish(here.submit(source / "warm", ["bench-pool"]), seconds=300)
        before = here.jobs()["succeeded"]
        began = time.perf_counter()
        here.finish(here.submit(source / "batch", ["bench-pool"]), seconds=600)
        seconds = time.perf_counter() - began
        running = here.supervisor.processes().items()
        memory = sum(_memory(pid) for name, pid in running if name.startswith("infer"))
        return seconds / (here.jobs()["succeeded"] - before), memory


def _memory(pid: int) -> float:
    """Return the proportional set size of a process and its descendants, in MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    own = next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return own + sum(_memory(int(child)) for task in tasks for child in task.read_text().split())


def export(folder: Path, studies: int) -> Path:
    """Write the batch, and a few studies to warm up on."""
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        write_studies(partial / "batch", studies, CHEST)
        write_studies(partial / "warm", 4, CHEST, first=1000)
        partial.rename(folder)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.pool", description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="where data and results are kept")
    parser.add_argument("--studies", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    source = export(options.work / "source", options.studies)
    found: dict[Layout, list[tuple[float, float]]] = defaultdict(list)
    for number in range(options.repeats):
        for layout in LAYOUTS:  # interleaved, so that a busy minute hurts them alike
            home = options.work / f"{layout.pool}-{layout.processes}-{number}"
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(parents=True)
            found[layout].append(measure(home, source, layout))
    print(f"{'pool':10}{'processes':>10}{'ms a job, best':>16}{'median':>10}{'MiB':>8}")
    for layout, runs in found.items():
        each = sorted(1000 * seconds for seconds, _ in runs)
        memory = statistics.median(mebibytes for _, mebibytes in runs)
        print(
            f"{layout.pool:10}{layout.processes:>10}{each[0]:>16.0f}"
            f"{statistics.median(each):>10.0f}{memory:>8.0f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
