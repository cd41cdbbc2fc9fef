"""A place where networks run: one forward pass at a time, whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Final

import torch

from pipeline.models.predictor import Checkpoint

if TYPE_CHECKING:
    from pipeline.models.tuned import Cache

_SECONDS_BETWEEN_CHECKPOINTS = 0.2
#: what torch leaves to the vector library of MKL where it has one (aten/src/ATen/cpu/vml.h)
_VECTOR_MATH: Final = (
    torch.acos,
    torch.asin,
    torch.atan,
    torch.cos,
    torch.erf,
    torch.erfc,
    torch.erfinv,
    torch.exp,
    torch.log,
    torch.log10,
    torch.log2,
    torch.sin,
    torch.sqrt,
    torch.tan,
    torch.tanh,
    torch.trunc,
)


class Device:
    """A device and its lock. Every predictor of a process that runs there shares one of these.

    Reading, resampling and writing of other jobs go on while one job holds the device. The lock is
    held for all windows of one input: to let two studies alternate would keep two sums in memory
    and give both their answer later. Only what would leave a batch part-empty is shared
    (``pipeline.models.batching``).
    """

    def __init__(
        self,
        name: str = "cpu",
        *,
        threads: int | None = None,
        tuned: Cache | None = None,
        sums: int | None = None,
    ) -> None:
        """Take torch's name of the device, threads of a CPU, and what was measured of models.

        ``sums`` are bytes that the sums of one study's windows may take there. Where they would
        take more, windows are rather run again (``pipeline.models.stitching``); None = no bound.
        """
        settle_vector_math()
        self.torch = torch.device(name)
        self.sums = sums
        self.tuned = tuned
        self.threads = threads or torch.get_num_threads()
        self._lock = threading.Lock()

    @contextmanager
    def hold(
        self, checkpoint: Checkpoint, *, unless: Callable[[], bool] = lambda: False
    ) -> Iterator[None]:
        """Wait for the device, calling ``checkpoint`` while waiting, and keep it.

        As soon as ``unless`` holds there is nothing to wait for: the block runs without the device.
        """
        while not (held := self._lock.acquire(timeout=_SECONDS_BETWEEN_CHECKPOINTS)):
            if unless():
                break
            checkpoint()
        try:
            yield
        finally:
            if held:
                self._lock.release()

    def enter_thread(self, threads: int | None = None) -> None:
        """Give the calling thread its number of cores, at most the device's.

        OpenMP keeps that number per thread, so ``torch.set_num_threads`` in the thread that loaded
        a model says nothing to the thread that runs a job. Another number of threads, or of
        windows in a batch, changes logits in the seventh digit (measured: 4e-7 of a U-Net's; no
        label of a million changed); the same numbers give the same bits.
        """
        wanted = min(threads or self.threads, self.threads)
        if torch.get_num_threads() != wanted:
            torch.set_num_threads(wanted)

    def __str__(self) -> str:
        """Return torch's name of the device, e.g. ``cuda:0``."""
        return str(self.torch)


@cache
def settle_vector_math() -> None:
    """Call every function of MKL's vector library once, on one number; again does nothing.

    MKL chooses the kernel of a function when it is first called. Where two threads of torch make
    that call together, as in the first square root of an optimiser, one of them may run a kernel
    of half the digits, in that call alone (pytorch/pytorch#188792, MKL 2024.2). ``python -m
    bench.same_bits`` counts how often a step of learning then ends in other bits.
    """
    for kind in (torch.float32, torch.float64):
        for function in _VECTOR_MATH:
            function(torch.full((1,), 0.5, dtype=kind))


def has_amx() -> bool:
    """Whether this processor has units for products of matrices in bfloat16 (Intel's AMX)."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


@contextmanager
def one_thread() -> Iterator[None]:
    """Let the calling thread compute alone: for many small steps, where cores only wait.

    Each step of several cores ends when the last of them is done. Labels of 120 slices are some
    thousand steps of a millisecond: on a machine that is busy otherwise two threads took 8 s and
    one thread 1 s. Other jobs use the cores meanwhile. Only the calling thread is changed.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
