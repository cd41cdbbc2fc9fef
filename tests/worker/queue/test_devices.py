"""How much memory processes may take, and what their allocator does with blocks of networks."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from worker.queue import devices

MEGABYTES = 2**20
#: takes six blocks, gives them back and takes one as large as five; says how far the heap grew
_TAKE = """
import ctypes

libc = ctypes.CDLL(None)
libc.free.argtypes = [ctypes.c_void_p]
libc.sbrk.argtypes = [ctypes.c_ssize_t]
libc.sbrk.restype = ctypes.c_void_p

def take(size):
    place = ctypes.c_void_p()
    assert libc.posix_memalign(ctypes.byref(place), ctypes.c_size_t(64), ctypes.c_size_t(size)) == 0
    return place

began = libc.sbrk(0)
blocks = [take(50 << 20) for _ in range(6)]
filled = libc.sbrk(0)
for block in blocks:
    libc.free(block)
take(250 << 20)
print(filled - began, libc.sbrk(0) - filled)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc reads these variables")
def test_blocks_that_are_given_back_stay_in_the_heap_and_become_one_again() -> None:
    environment = {**os.environ, **devices.allocator()}
    command = [sys.executable, "-S", "-c", _TAKE]
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    filled, grown = map(int, said.stdout.split())
    assert 290 * MEGABYTES < filled < 310 * MEGABYTES
    assert grown == 0


MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("groups", "limits", "expected"),
    [
        ("", {}, MACHINE),
        # version 2: the group's own, one above it, none, and a container that sees its own alone
        ("0::/a/b\n", {"a/b/memory.max": "5000\n", "a/memory.max": "max\n"}, 5000),
        ("0::/a/b\n", {"a/b/memory.max": "5000\n", "a/memory.max": "4000\n"}, 4000),
        ("0::/a/b\n", {"a/b/memory.max": "max\n"}, MACHINE),
        ("0::/a/b\n", {"memory.max": "3000\n"}, 3000),
        # version 1, whose number for none is beyond any machine
        (
            "4:cpu,memory:/a\n3:cpuset:/\n0::/\n",
            {
                "memory/a/memory.limit_in_bytes": "6000\n",
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            6000,
        ),
        ("3:cpuset:/a\n", {"memory/a/memory.limit_in_bytes": "6000\n"}, MACHINE),
    ],
)
def test_memory_is_the_machines_or_the_least_of_the_control_groups(
    tmp_path: Path, groups: str, limits: dict[str, str], expected: int
) -> None:
    files = {"proc/self/cgroup": groups}
    files |= {f"sys/fs/cgroup/{name}": limit for name, limit in limits.items()}
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert devices.usable_memory(tmp_path) == expected


def test_a_system_that_knows_no_control_groups_has_its_memory(tmp_path: Path) -> None:
    assert devices.usable_memory(tmp_path) == MACHINE
    assert 0 < devices.usable_memory() <= MACHINE
