"""How many inference processes a machine gets, and the environment each of them needs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from worker.queue.settings import Settings

#: On a CPU a second process with half the threads took 373 ms a job instead of 460 (two idle cores,
#: ``bench.pool``); every further one costs half a gigabyte of its own.
MOST_CPU_PROCESSES = 4


def inference_environments(settings: Settings) -> list[dict[str, str]]:
    """Return the environment of every inference process: one per GPU, else by cores."""
    gpus = _gpus(settings)
    count = processes(settings)
    threads = settings.threads or max(1, usable_cores() // count)
    environments = []
    for number in range(count):
        environment = allocator() | _threads(threads)
        if len(gpus) > 1:
            environment["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
        environments.append(environment)
    return environments


def processes(settings: Settings) -> int:
    """Return how many inference processes this machine gets."""
    wanted = settings.inference_processes
    return wanted or len(_gpus(settings)) or max(1, min(MOST_CPU_PROCESSES, usable_cores()))


def _gpus(settings: Settings) -> list[str]:
    gpus = [] if settings.device == "cpu" else visible_gpus()
    # where one device was named, the processes asked for share it
    return gpus if settings.device in {"auto", "cpu"} else gpus[:1]


def usable_memory(root: Path = Path("/")) -> int:
    """Return bytes that this process and its neighbours may take: the machine's, or a group's.

    A container, or a unit of the system, has less than the machine where its control group says so
    (version 2: ``memory.max``, version 1: ``memory.limit_in_bytes``), or one of those above it.
    """
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *_limits(root)])


def _limits(root: Path) -> Iterator[int]:
    """Yield the limits of the control groups of this process."""
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return  # a system without them
    for _, kinds, name in (line.split(":", 2) for line in groups):
        if kinds and "memory" not in kinds.split(","):
            continue
        base = root / "sys/fs/cgroup" / ("memory" if kinds else "")
        group = base / name.lstrip("/")
        for folder in (group, *group.parents):
            # a container may not see the groups above, and finds its own at the base
            for file in (folder / "memory.max", folder / "memory.limit_in_bytes"):
                with contextlib.suppress(OSError, ValueError):  # "max" is no limit
                    yield int(file.read_text())
            if folder == base:
                break


def usable_cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """Return the NVIDIA devices by number, without loading CUDA into this process."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [word for word in named.split(",") if word.strip() not in {"", "-1"}]
    return sorted(
        path.name.removeprefix("nvidia")
        for path in Path("/dev").glob("nvidia[0-9]*")
        if path.name.removeprefix("nvidia").isdigit()
    )


def physical_devices(settings: Settings) -> list[str]:
    """Return what every process of this machine calls the devices of these settings.

    ``cuda:0`` of a process is the first of those that it sees.
    """
    gpus = visible_gpus()
    if settings.device == "cpu" or not gpus:
        return ["cpu"]
    words = ["cuda:0"] if settings.device == "auto" else settings.device.split(",")
    places = [int(word.partition(":")[2] or 0) for word in words]
    return [f"gpu-{gpus[place]}" for place in places if place < len(gpus)]


def allocator() -> dict[str, str]:
    """Return what keeps glibc from giving large blocks back between two windows of a network.

    Activations above 32 MB are otherwise mapped, faulted in and unmapped for every layer. Two
    convolution layers of 96^3, batch 2, one thread: 700 ms with the defaults, 265 ms with these.
    One arena, because only the main arena can keep such blocks: in a thread of the pool the
    thresholds alone change nothing (703 ms). No cache for small blocks: the few bytes in front of
    an aligned block would stay in it, and keep its neighbours from becoming one again. A network's
    heap grew by up to half of what it uses, in one process more than in the next. Other C libraries
    ignore these variables.
    """
    return {
        "MALLOC_MMAP_THRESHOLD_": "68719476736",
        "MALLOC_TRIM_THRESHOLD_": "68719476736",
        "MALLOC_ARENA_MAX": "1",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.tcache_count=0",
    }


def _threads(count: int) -> dict[str, str]:
    """Return the thread counts of OpenMP, MKL and our own torch settings."""
    text = str(count)
    return {"OMP_NUM_THREADS": text, "MKL_NUM_THREADS": text, "NIGHTSHIFT_THREADS": text}
