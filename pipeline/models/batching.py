"""Windows of several images in one batch, so that no batch is part-empty while another image waits.

Who holds the device runs the windows of its own image. Where they do not fill the last batch, it
takes windows of those that wait for the same network, the longest waiting first. At most as many
images as a batch has windows are summed at once. The batches of an image have one shape (alone, it
repeats its last window), and networks answer for each window by itself: so an image's logits are
the same bits whoever shared its batches.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.models import stitching
from pipeline.models.devices import Device
from pipeline.models.predictor import Checkpoint
from pipeline.models.stitching import Box, Sweep

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What all batches of a network have in common."""

    #: voxels of a window along each axis
    size: tuple[int, ...]
    batch: int
    device: torch.device
    dtype: torch.dtype
    layout: torch.memory_format
    #: where sums are kept
    sums_on: torch.device
    blend: stitching.Blend


class Passage:
    """The way of one image through a network, window by window."""

    def __init__(
        self, image: Tensor, windows: Sequence[Box], shape: Shape, *, sweep: Sweep
    ) -> None:
        """Take an image (channels, *spatial) and its windows, in the order they are run."""
        self.image = image
        self.shape = shape
        self._windows = windows
        self._sweep = sweep
        self._weight = stitching.window_weights(shape.size, shape.blend, shape.sums_on)
        #: known as soon as somebody can say how many outputs there are
        self._laid: stitching.Laid | None = None
        self._done = 0
        self._calls: list[tuple[_Stopwatch, float]] = []

    @property
    def runs(self) -> int:
        """How many windows are run in all, those that are run again among them."""
        return len(self._windows if self._laid is None else self._laid.visits)

    @property
    def left(self) -> int:
        """How many windows are still to run."""
        return self.runs - self._done

    def next_windows(self, most: int) -> Sequence[Box]:
        """Return the windows to run next, without taking them for done."""
        coming = slice(self._done, self._done + most)
        if self._laid is None:
            return self._windows[coming]
        return [visit.window for visit in self._laid.visits[coming]]

    def add(self, window: Box, answer: Tensor, call: _Stopwatch, share: float) -> None:
        """Sum the answer (outputs, *size) of the next window, which cost a share of a call."""
        self._calls.append((call, share))
        if self._laid is None:
            self._laid = stitching.lay_within(
                self.image.shape[1:], self._windows, self._sweep, len(answer)
            )
        visit = self._laid.visits[self._done]
        if window != visit.window:
            return  # chosen before the outputs were known: its turn comes
        inside = stitching.within(visit.kept, window)
        try:
            self._laid.blocks.add(visit.kept, answer[(slice(None), *inside)], self._weight[inside])
        except BaseException:
            self.forget()  # nobody can say what was added
            raise
        self._done += 1

    def forget(self) -> None:
        """Drop all that was summed: the next window is the first again."""
        self._laid, self._done, self._calls = None, 0, []

    def hand_over(self) -> None:
        """Give finished blocks to whom they are for."""
        if self._laid is not None:
            for box, logits in self._laid.blocks.finished():
                self._sweep.finish(box, logits)

    def sentences(self) -> list[str]:
        """Say what was run again, and how much memory would have spared it."""
        if self._laid is None or self._laid.spared is None:
            return []
        held, spared = (math.ceil(size / 2**20) for size in (self._laid.held, self._laid.spared))
        again = self.runs - len(self._windows)
        sentence = f"{again} windows were run again, so that sums take {held} MiB at once"
        return [f"{sentence}: to run each once takes {spared} MiB, more than they may"]

    def call_seconds(self) -> float:
        """Return how long the network has computed for this image."""
        return sum(call.seconds() * share for call, share in self._calls)


class Queue:
    """The passages that wait for one network on one device, the longest waiting first."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._waiting: list[Passage] = []

    @contextmanager
    def turn(self, passage: Passage, checkpoint: Checkpoint) -> Iterator[None]:
        """Wait until the device is ours, or others have run all windows of ``passage``."""
        with self._lock:
            self._waiting.append(passage)
        try:
            with self._device.hold(checkpoint, unless=lambda: not passage.left):
                yield
        finally:
            with self._lock:
                self._waiting.remove(passage)

    def others(self, passage: Passage) -> list[Passage]:
        """Return who else waits with windows that fit the batches of ``passage``."""
        with self._lock:
            return [
                other
                for other in self._waiting
                if other is not passage
                and other.left
                and other.shape == passage.shape
                and len(other.image) == len(passage.image)
            ]


def drive(network: Network, passage: Passage, queue: Queue | None, checkpoint: Checkpoint) -> float:
    """Run all windows of a passage, and of others where they fill its batches.

    Returns:
        Seconds spent outside of the network: cutting windows out and adding answers. Those of the
        sweep's ``finish`` are not among them.

    """
    if not passage.left:
        return 0.0
    shape = passage.shape
    channels = passage.image.shape[0]
    pixels = torch.zeros(
        (shape.batch, channels, *shape.size), dtype=shape.dtype, device=shape.device
    ).contiguous(memory_format=shape.layout)
    calls, spent = [], 0.0
    while passage.left:
        checkpoint()
        began = time.perf_counter()
        calls.append(_Stopwatch(shape.device))
        for summed in _run_batch(network, _fill(passage, queue), pixels, calls[-1]):
            # at once, since what is summed is most of what a study takes. The last blocks are left
            # to the caller, who need not hold the device for that; others' to themselves
            if summed is passage and passage.left:
                spent += time.perf_counter() - began
                passage.hand_over()
                began = time.perf_counter()
        spent += time.perf_counter() - began
    return max(0.0, spent - sum(call.seconds() for call in calls))


def _fill(passage: Passage, queue: Queue | None) -> list[tuple[Passage, Sequence[Box]]]:
    """Return the passages of the next batch and their windows, the holder's first."""
    parts = [(passage, passage.next_windows(passage.shape.batch))]
    free = passage.shape.batch - len(parts[0][1])
    for other in queue.others(passage) if queue is not None and free else ():
        windows = other.next_windows(free)
        parts.append((other, windows))
        free -= len(windows)
        if not free:
            break
    return parts


def _run_batch(
    network: Network,
    parts: list[tuple[Passage, Sequence[Box]]],
    pixels: Tensor,
    call: _Stopwatch,
) -> Iterator[Passage]:
    """Run one batch and sum its answers; yield the passage of each window after that."""
    slot = 0
    for passage, windows in parts:
        for window in windows:
            pixels[slot].copy_(passage.image[(slice(None), *window)])
            slot += 1
    if slot < len(pixels):
        pixels[slot:] = pixels[slot - 1]
    with call:
        answers = network(pixels)
    owners = ((passage, window) for passage, windows in parts for window in windows)
    for (passage, window), answer in zip(owners, answers[:slot], strict=True):
        passage.add(window, answer, call, 1 / slot)
        yield passage


class _Stopwatch:
    """Seconds of one block on a device, whose work may still go on when the block ends."""

    def __init__(self, device: torch.device) -> None:
        self._is_cuda = device.type == "cuda"
        self._seconds: float | None = None

    def __enter__(self) -> None:
        if self._is_cuda:
            event: Any = torch.cuda.Event
            self._events = [event(enable_timing=True) for _ in range(2)]
            self._events[0].record()
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        if self._is_cuda:
            self._events[1].record()
        else:
            self._seconds = time.perf_counter() - self._began

    def seconds(self) -> float:
        """Return the seconds, waiting for the device where it is not done."""
        if self._seconds is None:
            self._events[1].synchronize()
            self._seconds = float(self._events[0].elapsed_time(self._events[1])) / 1000
        return self._seconds
