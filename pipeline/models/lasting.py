"""Memory for what lives through many calls of a network, beside the heap that the calls use.

Workers let glibc keep whatever it was given (``worker.queue.devices.allocator``). A sum that came
out of that heap would lie between activations: the gap that they left would fit no longer, and the
heap would grow by another one, in one process more often than in the next. What is mapped by itself
leaves the heap to the network, and goes back to the system when its last tensor is gone.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence

import torch
from torch import Tensor

_CPU = torch.device("cpu")


def zeros(
    shape: Sequence[int], dtype: torch.dtype = torch.float32, device: torch.device = _CPU
) -> Tensor:
    """Return zeros in memory of their own; on a GPU, whose allocator is another, plain ones.

    Raises:
        MemoryError: there is no such memory.

    """
    count = math.prod(shape)
    if device.type != "cpu" or not count:
        return torch.zeros(*shape, dtype=dtype, device=device)
    try:
        mapping = mmap.mmap(-1, count * dtype.itemsize, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(str(error)) from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        mapping.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(mapping, dtype=dtype).view(*shape)


def copy(values: Tensor) -> Tensor:
    """Return the values, contiguous, in memory of their own."""
    return zeros(values.shape, values.dtype, values.device).copy_(values)
