"""Weighted sums of overlapping windows, kept no longer than they are needed.

The grid is cut into blocks where windows begin and end. A block is summed by itself, made when its
first window comes and handed over after its last, together with the last plane of voxels of the
blocks before it: whoever interpolates between voxels then needs one block at a time. Where the sum
of the whole grid fits its room there are no cuts and the whole is one block.

Blocks that wait for another window grow with the outputs of the network. Where even they pass a
bound, the grid is swept part by part, and a window that reaches several parts is run for each: that
costs time and bounds memory for any number of outputs. To run all windows for each share of the
outputs would need a running maximum, and more runs: parts cost those at their borders alone.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

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
    #: bytes above which windows are rather run again; None = each is run once
    bound: int | None = None


class Visit(NamedTuple):
    """One run of a window, and what of its answer is summed then."""

    window: Box
    kept: Box


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
                shape = self._shape(block)
                # of one window alone: gone before the network is called again
                zeros = torch.zeros if self._awaited[block] == 1 else lasting.zeros
                self._sums[block] = (
                    zeros((len(answer), *shape), device=weight.device),
                    zeros(shape, device=weight.device),
                )
            total, weights = self._sums[block]
            common = _shared(box, window)
            here, there = within(common, box), within(common, window)
            part = weight[there]
            total[(slice(None), *here)].addcmul_(answer[(slice(None), *there)], part)
            weights[here].add_(part)
            self._awaited[block] -= 1

    def finished(self) -> Iterator[tuple[Box, Tensor]]:
        """Hand over the logits of blocks that no window will reach any more, and forget them."""
        # in their order, so that every block finds the planes of those before it
        for block in sorted(block for block in self._sums if not self._awaited[block]):
            yield self._taken(block)

    def most_voxels(self, windows: Sequence[Box]) -> int:
        """Return how many voxels are held at once at most, without summing anything.

        Planes that wait for the blocks behind them count. What is copied while a block is handed
        over does not.
        """
        awaited, live, planes = self._awaited.copy(), dict[Block, int](), Counter[Block]()
        held = most = 0
        for window in windows:
            reached = list(self._reached(window))
            for block in reached:
                if block not in live:
                    live[block] = math.prod(self._shape(block))
                    held += live[block]
                awaited[block] -= 1
            most = max(most, held)
            for block in reached:
                if not awaited[block]:
                    held -= live.pop(block) + planes.pop(block, 0)
                    for after, offset in self._behind(block):
                        left = _plane_voxels(self._shape(block), offset)
                        planes[after] += left
                        held += left
        return most

    def _taken(self, block: Block) -> tuple[Box, Tensor]:
        """Return the logits of a block and forget it; nothing else of it stays meanwhile."""
        total, weights = self._sums.pop(block)
        logits = total.div_(weights)
        for after, offset in self._behind(block):
            planes = [slice(-1, None) if more else slice(None) for more in offset]
            kept = lasting.copy(logits[(slice(None), *planes)])
            self._before.setdefault(after, {})[offset] = kept
        return self._joined(block, logits)

    def _behind(self, block: Block) -> Iterator[tuple[Block, Block]]:
        """Yield the blocks that take a plane, an edge or a corner of this one, and their offset."""
        for offset in itertools.product((0, 1), repeat=len(block)):
            after = tuple(number + more for number, more in zip(block, offset, strict=True))
            if any(offset) and after in self._awaited:
                yield after, offset

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

    def _shape(self, block: Block) -> list[int]:
        return [part.stop - part.start for part in self._box(block)]


@dataclass(frozen=True, kw_only=True)
class Laid:
    """How the windows of an image are run and summed."""

    blocks: Blocks
    visits: Sequence[Visit]
    #: bytes that sums take at once, at most
    held: int
    #: what they would take where each window is run once; None where it is
    spared: int | None = None


def lay_within(shape: Sequence[int], windows: Sequence[Box], sweep: Sweep, outputs: int) -> Laid:
    """Return sums with as few cuts as keep them within the room of ``sweep``.

    Where all cuts together leave more than its bound, the grid is divided too, into as few parts as
    keep within that, or into as many as there are.
    """
    bound = sys.maxsize if sweep.bound is None else sweep.bound
    once = [Visit(window, window) for window in windows]
    for count in range(len(sweep.axes) + 1):
        laid = _laid(shape, once, sweep.axes[:count], outputs)
        if laid.held <= min(sweep.room, bound):
            return laid
    spared = laid.held
    for parts in _divisions(shape, windows, sweep):
        if laid.held <= bound:
            break
        laid = _laid(shape, _visits(windows, parts), sweep.axes, outputs)
    return laid if len(laid.visits) == len(windows) else replace(laid, spared=spared)


def _laid(shape: Sequence[int], visits: Sequence[Visit], cut: Sequence[int], outputs: int) -> Laid:
    kept = [visit.kept for visit in visits]
    blocks = Blocks(shape, kept, cut)
    # a float32 for each output, and one for the weights
    return Laid(blocks=blocks, visits=visits, held=4 * (outputs + 1) * blocks.most_voxels(kept))


def _divisions(
    shape: Sequence[int], windows: Sequence[Box], sweep: Sweep
) -> Iterator[list[list[slice]]]:
    """Yield the parts of each axis, ever more of them, down to half a window.

    A window that reaches into two parts is run for both. Of the axes that can be divided the one
    with the longest parts comes next, since it has the most windows; the first of the sweep is
    last, along which sums are handed over as the sweep goes. One window is never divided.
    """
    counts, most = [1] * len(shape), []
    for extent, size in zip(shape, (part.stop - part.start for part in windows[0]), strict=True):
        most.append(2 * extent // size if extent > size else 1)
    for axes in (sweep.axes[1:], sweep.axes[:1]):
        while divisible := [axis for axis in axes if counts[axis] < most[axis]]:
            counts[max(divisible, key=lambda axis: shape[axis] / counts[axis])] += 1
            yield [_parts(extent, windows, axis, counts[axis]) for axis, extent in enumerate(shape)]


def _parts(extent: int, windows: Sequence[Box], axis: int, count: int) -> list[slice]:
    """Return so many parts of an axis, about even, that begin where few windows go on."""
    step, along = extent / count, {(window[axis].start, window[axis].stop) for window in windows}
    ends = [0]
    for middle in (number * step for number in range(1, count)):
        near = range(round(middle - step / 4), round(middle + step / 4) + 1)
        # as many windows as are run once more, for what lies behind
        again = {place: sum(start < place < stop for start, stop in along) for place in near}
        ends.append(min(near, key=lambda place: (again[place], abs(place - middle))))
    return [slice(*pair) for pair in itertools.pairwise([*ends, extent])]


def _visits(windows: Sequence[Box], parts: Sequence[Sequence[slice]]) -> list[Visit]:
    """Return the windows part by part, each as often as there are parts that it reaches."""
    visits = []
    for part in itertools.product(*parts):
        for window in windows:
            kept = _shared(part, window)
            if all(one.start < one.stop for one in kept):
                visits.append(Visit(window, kept))
    return visits


def window_weights(size: Sequence[int], blend: Blend, device: torch.device) -> Tensor:
    """Return MONAI's weights of a window: its middle above its borders, or all alike."""
    return compute_importance_map(tuple(size), mode=blend, sigma_scale=0.125).to(device)


def _intervals(extent: int, windows: Sequence[Box], axis: int) -> list[slice]:
    """Return the parts of an axis between all places where windows begin or end."""
    ends = {end for window in windows for end in (window[axis].start, window[axis].stop)}
    return [slice(*pair) for pair in itertools.pairwise(sorted(ends | {0, extent}))]


def _plane_voxels(shape: Sequence[int], offset: Block) -> int:
    return math.prod(1 if more else extent for extent, more in zip(shape, offset, strict=True))


def _shared(one: Box, other: Box) -> Box:
    """Return what two boxes share; a slice that ends before it begins where they do not."""
    pairs = zip(one, other, strict=True)
    return tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in pairs)


def within(part: Box, whole: Box) -> Box:
    """Return a part of the grid by the indices of a box around it."""
    pairs = zip(part, whole, strict=True)
    return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in pairs)
