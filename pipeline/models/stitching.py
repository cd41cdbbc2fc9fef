"""Weighted sums of overlapping windows, kept no longer than they are needed.

The grid is cut into blocks where windows begin and end. A block is summed by itself, made when its
first window comes and handed over after its last, together with the last plane of voxels of the
blocks before it: whoever interpolates between voxels then needs one block at a time. Where the sum
of the whole grid fits its room there are no cuts and the whole is one block.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from monai.data.utils import compute_importance_map
from torch import Tensor

from pipeline.models import lasting

#: a part of the grid, one slice for each axis
Box = tuple[slice, ...]
#: the number of a block along each axis
Block = tuple[int, ...]
Blend = Literal["gaussian", "constant"]
#: takes a box and its logits, float32 (outputs, *shape of the box)
Finish = Callable[[Box, Tensor], None]


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """In which order windows pass over a grid, and what becomes of the sums."""

    #: all axes of the grid; windows run along the first of them last, and it is cut first
    axes: tuple[int, ...]
    #: bytes that sums should not pass. They do where even a cut along all axes leaves more
    room: int
    finish: Finish


def in_order(windows: Sequence[Box], axes: Sequence[int]) -> list[Box]:
    """Return windows by their starts along ``axes``, the first axis slowest."""
    return sorted(windows, key=lambda window: [window[axis].start for axis in axes])


class Blocks:
    """The sums of one image. Every voxel adds its windows in one order, cut or not."""

    def __init__(self, shape: Sequence[int], windows: Sequence[Box], cut: Sequence[int]) -> None:
        """Cut the grid of ``shape`` along the axes ``cut``; ``windows`` come in their order."""
        self._parts = [
            _intervals(extent, windows, axis) if axis in cut else [slice(0, extent)]
            for axis, extent in enumerate(shape)
        ]
        self._awaited = Counter(block for window in windows for block in self._reached(window))
        self._sums: dict[Block, tuple[Tensor, Tensor]] = {}
        #: for a block to come: by the axes along which they lie before it, planes of others
        self._before: dict[Block, dict[Block, Tensor]] = {}

    def add(self, window: Box, answer: Tensor, weight: Tensor) -> None:
        """Add a window's answer (outputs, *window), weighted, where ``weight`` (*window) lies."""
        answer = answer.to(weight.device, torch.float32)
        for block in self._reached(window):
            box = self._box(block)
            if block not in self._sums:
                shape = [part.stop - part.start for part in box]
                # of one window alone: gone before the network is called again
                zeros = torch.zeros if self._awaited[block] == 1 else lasting.zeros
                self._sums[block] = (
                    zeros((len(answer), *shape), device=weight.device),
                    zeros(shape, device=weight.device),
                )
            total, weights = self._sums[block]
            here, there = _common(box, window)
            part = weight[there]
            total[(slice(None), *here)].addcmul_(answer[(slice(None), *there)], part)
            weights[here].add_(part)
            self._awaited[block] -= 1

    def finished(self) -> Iterator[tuple[Box, Tensor]]:
        """Hand over the logits of blocks that no window will reach any more, and forget them."""
        # in their order, so that every block finds the planes of those before it
        for block in sorted(block for block in self._sums if not self._awaited[block]):
            total, weights = self._sums.pop(block)
            logits = total.div_(weights)
            self._leave_planes(block, logits)
            yield self._joined(block, logits)

    def most_voxels(self, windows: Sequence[Box]) -> int:
        """Return how many voxels are summed at once at most, without summing anything."""
        awaited, live, most = self._awaited.copy(), dict[Block, int](), 0
        for window in windows:
            for block in self._reached(window):
                live[block] = math.prod(part.stop - part.start for part in self._box(block))
                awaited[block] -= 1
            most = max(most, sum(live.values()))
            for block in self._reached(window):
                if not awaited[block]:
                    del live[block]
        return most

    def _leave_planes(self, block: Block, logits: Tensor) -> None:
        """Keep the last plane of a block, its edges and its corner, for the blocks behind it."""
        for offset in itertools.product((0, 1), repeat=len(block)):
            after = tuple(number + more for number, more in zip(block, offset, strict=True))
            if any(offset) and after in self._awaited:
                planes = [slice(-1, None) if more else slice(None) for more in offset]
                kept = lasting.copy(logits[(slice(None), *planes)])
                self._before.setdefault(after, {})[offset] = kept

    def _joined(self, block: Block, logits: Tensor) -> tuple[Box, Tensor]:
        """Return a block with the planes before it."""
        box, before = self._box(block), self._before.pop(block, None)
        if before is None:
            return box, logits
        has = [number > 0 for number in block]
        shape = [extent + more for extent, more in zip(logits.shape[1:], has, strict=True)]
        joined = logits.new_empty((len(logits), *shape))
        for offset, part in ((tuple(0 for _ in block), logits), *before.items()):
            places = [
                slice(0, 1) if more else slice(int(first), None)
                for more, first in zip(offset, has, strict=True)
            ]
            joined[(slice(None), *places)] = part
        starts = [part.start - more for part, more in zip(box, has, strict=True)]
        return tuple(map(slice, starts, [part.stop for part in box])), joined

    def _reached(self, window: Box) -> Iterator[Block]:
        """Yield the blocks that a window reaches."""
        numbers = (
            [n for n, one in enumerate(parts) if one.start < part.stop and one.stop > part.start]
            for parts, part in zip(self._parts, window, strict=True)
        )
        return itertools.product(*numbers)

    def _box(self, block: Block) -> Box:
        return tuple(parts[number] for parts, number in zip(self._parts, block, strict=True))


def blocks_within(
    shape: Sequence[int], windows: Sequence[Box], sweep: Sweep, outputs: int
) -> Blocks:
    """Return sums with as few cuts as keep them within the room of ``sweep``."""
    for count in range(len(sweep.axes)):
        blocks = Blocks(shape, windows, sweep.axes[:count])
        # a float32 for each output, and one for the weights
        if 4 * (outputs + 1) * blocks.most_voxels(windows) <= sweep.room:
            return blocks
    return Blocks(shape, windows, sweep.axes)


def window_weights(size: Sequence[int], blend: Blend, device: torch.device) -> Tensor:
    """Return MONAI's weights of a window: its middle above its borders, or all alike."""
    return compute_importance_map(tuple(size), mode=blend, sigma_scale=0.125).to(device)


def _intervals(extent: int, windows: Sequence[Box], axis: int) -> list[slice]:
    """Return the parts of an axis between all places where windows begin or end."""
    ends = {end for window in windows for end in (window[axis].start, window[axis].stop)}
    return [slice(*pair) for pair in itertools.pairwise(sorted(ends | {0, extent}))]


def _common(block: Box, window: Box) -> tuple[Box, Box]:
    """Return what a block and a window share, by the indices of each."""
    here, there = [], []
    for one, other in zip(block, window, strict=True):
        low, high = max(one.start, other.start), min(one.stop, other.stop)
        here.append(slice(low - one.start, high - one.start))
        there.append(slice(low - other.start, high - other.start))
    return tuple(here), tuple(there)
