"""Memory that a decoding process fills and its parent reads: anonymous files, used again.

Fresh shared memory costs a page fault and a cleared page per 4 KiB: 48 ms for the 63 MB of a
chest CT, ten times as long as reading them. So a volume's memory, still mapped, returns to a
small pool once its last array is gone.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
import threading
import weakref
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

#: free memory kept for the next reads
_FREE_FILES: Final = 2
_FREE_BYTES: Final = 2**29
#: MADV_POPULATE_READ: map what the file holds already, without a fault per page (Linux 5.14)
_POPULATE_READ: Final = 22


class Memory:
    """One anonymous file and the mapping of it in this process."""

    def __init__(self) -> None:
        self.descriptor = _anonymous_file()
        self._mapping: mmap.mmap | None = None

    @property
    def size(self) -> int:
        """Bytes that are mapped here."""
        return 0 if self._mapping is None else len(self._mapping)

    def _mapped(self, size: int) -> mmap.mmap:
        """Return a mapping of at least ``size`` bytes of what a child has filled."""
        # Checked each time: reading what a child has cut off would end the process (SIGBUS).
        if os.fstat(self.descriptor).st_size < max(size, self.size):
            raise ValueError("the decoder made less memory than it says")
        if self._mapping is None or len(self._mapping) < size:
            self._mapping = mmap.mmap(self.descriptor, size)
        return self._mapping

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any], pool: Pool) -> NDArray[Any]:
        """Return an array on the memory, which goes to the pool after the array's last view.

        Raises:
            ValueError: the memory holds fewer bytes than the array needs.

        """
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        try:
            plain = _array(self._mapped(size), shape, dtype)
        except ValueError:
            pool.give_back(self)
            raise
        lease = _Lease(plain)
        weakref.finalize(lease, pool.give_back, self).atexit = False
        return np.asarray(lease)

    def is_whole(self) -> bool:
        """Say whether the file still has what is mapped; a child may have cut it."""
        return os.fstat(self.descriptor).st_size >= self.size > 0

    def close(self) -> None:
        """Give the file back to the kernel, which frees it with its last user."""
        os.close(self.descriptor)


class Pool:
    """Free memory of this process. Safe to use from several threads."""

    def __init__(self) -> None:
        # Reentrant: a finaliser may run inside any allocation, also one made under the lock.
        self._lock = threading.RLock()
        self._free: list[Memory] = []

    def take(self) -> Memory:
        """Return the largest free memory, or new memory without a size."""
        with self._lock:
            if self._free:
                return self._free.pop()
        return Memory()

    def give_back(self, memory: Memory) -> None:
        """Keep the memory for the next read, or close it where enough is kept."""
        with self._lock:
            if memory.is_whole():
                self._free = sorted([*self._free, memory], key=lambda free: free.size)
            else:
                memory.close()
            held = sum(free.size for free in self._free)
            while self._free and (len(self._free) > _FREE_FILES or held > _FREE_BYTES):
                surplus = self._free.pop(0 if held <= _FREE_BYTES else -1)
                held -= surplus.size
                surplus.close()

    def forget(self) -> None:
        """Leave what is free to another: called in a forked child, whose it is not."""
        self._lock, self._free = threading.RLock(), []


#: of this process
pool: Final = Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.forget)


class _Lease:
    """What the arrays on one memory hold on to. numpy makes it the base of every view."""

    def __init__(self, plain: NDArray[Any]) -> None:
        self._plain = plain
        self.__array_interface__ = plain.__array_interface__


def _anonymous_file() -> int:
    """Open a file that has no name: the kernel frees it with its last user, however they end."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("nightshift-voxels", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class Target:
    """The same file where it is filled: in the child."""

    def __init__(self, descriptor: int, size: int) -> None:
        """Map what the file holds already, of ``size`` bytes, while nobody waits."""
        self._descriptor = descriptor
        self._mapping = mmap.mmap(descriptor, size) if size else None
        if self._mapping is not None and hasattr(self._mapping, "madvise"):
            with contextlib.suppress(OSError):  # an older kernel: slower, no less right
                self._mapping.madvise(_POPULATE_READ)

    @property
    def size(self) -> int:
        """Bytes that are mapped."""
        return 0 if self._mapping is None else len(self._mapping)

    def keep_within(self, memory_bytes: int) -> None:
        """Let go of a mapping that is larger than the memory one read may take."""
        if self.size > memory_bytes:
            self._mapping = None

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array at the start of the file. What it holds is no part of this read.

        Raises:
            OSError: there is no memory for it.

        """
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if self._mapping is None or len(self._mapping) < size:
            if os.fstat(self._descriptor).st_size < size:
                os.ftruncate(self._descriptor, size)
            self._mapping = mmap.mmap(self._descriptor, size)
        return _array(self._mapping, shape, dtype)


def shared_array(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array that processes forked from now on share with this one."""
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    return _array(mmap.mmap(-1, size), shape, dtype)


def _array(mapping: mmap.mmap, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    count = int(np.prod(shape, dtype=object))
    return np.frombuffer(mapping, dtype, count).reshape(shape)
