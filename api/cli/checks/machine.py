"""Folders, free space, memory that processes share, and open files."""

from __future__ import annotations

import os
import platform
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from api.cli.checks.finding import Finding, Verdict
from api.cli.printing import size

if TYPE_CHECKING:
    from worker.queue.settings import Settings

FEWEST_OPEN_FILES = 4096
LEAST_SHARED_MEMORY = 2 * 2**30


def machine(settings: Settings) -> Iterator[Finding]:
    """Look at folders, free space, memory that processes share, and open files."""
    area = "Machine"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding(area, "processor", "ok", f"{cores} usable cores, {platform.machine()}")
    yield from folder(area, "home", settings.home, settings.disk_reserve_bytes)
    yield from folder(area, "store", settings.store_path, settings.disk_reserve_bytes)
    yield from _shared_memory(area)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = 0 <= soft < FEWEST_OPEN_FILES
    mend = f"Raise it: ulimit -n {FEWEST_OPEN_FILES} (at most {hard} here)." if few else ""
    yield Finding(area, "open files", "warning" if few else "ok", f"{soft} per process", mend)


def folder(area: str, name: str, path: Path, reserve: int) -> Iterator[Finding]:
    """Say whether a folder can be written, how private it is, and how much room it has."""
    there = _existing(path)
    if not os.access(there, os.W_OK | os.X_OK):
        mend = "Change its owner, or set NIGHTSHIFT_HOME to a folder that you may write."
        yield Finding(area, name, "problem", f"{there} cannot be written", mend)
        return
    free = shutil.disk_usage(there).free
    low = free < 2 * reserve
    mend = f"Below {size(reserve)} no job is started; free some space." if low else ""
    verdict: Verdict = "problem" if free < reserve else "warning" if low else "ok"
    yield Finding(area, f"{name} folder", verdict, f"{path}, {size(free)} free", mend)
    if path.exists() and path.stat().st_mode & 0o077:
        mend = f"Results are patient data: chmod 700 {path}"
        yield Finding(area, f"{name} privacy", "warning", "others on this machine may read", mend)


def shortage(settings: Settings) -> str:
    """Return in a sentence that the disk of the store is below the reserve; empty if it is not."""
    reserve = settings.disk_reserve_bytes
    try:
        free = shutil.disk_usage(_existing(settings.store_path)).free
    except OSError:  # a share that is away for a moment ends no run; workers say what they miss
        return ""
    if free >= reserve:
        return ""
    return f"The disk of the store has {size(free)} left; below {size(reserve)} no job is started."


def _existing(path: Path) -> Path:
    """Return the folder, or the nearest above it that is there."""
    return next(each for each in (path, *path.parents) if each.exists())


def _shared_memory(area: str) -> Iterator[Finding]:
    """Say how much shared memory there is: voxels pass through it from reader to model."""
    path = Path("/dev/shm")  # noqa: S108 - the mount of POSIX shared memory, not a temporary file
    if not path.is_dir():
        return
    total = shutil.disk_usage(path).total
    small = total < LEAST_SHARED_MEMORY
    mend = "In a container: --shm-size=8g (Compose: shm_size: 8gb)." if small else ""
    yield Finding(area, "shared memory", "warning" if small else "ok", size(total), mend)
