"""What the allocator of an inference process does with blocks as networks take them."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

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
