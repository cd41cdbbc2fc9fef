"""What detectors of boxes and of objects share: an input seen window by window, on any device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from pipeline.models import checks, planes, preprocess, sliding
from pipeline.models.devices import Device
from pipeline.models.grids import Grid
from pipeline.models.predictor import Checkpoint
from pipeline.models.segmentation import Laps, plan_windows, used_options
from pipeline.models.spec import ModelSpec
from pipeline.models.tuned import choice_for
from pipeline.volume import Input, Volume

T = TypeVar("T")
#: what was found in one window, by name
Answer: TypeAlias = dict[str, Tensor]
#: finds in (channels, planes, rows, columns) by a network and a plan, and counts the windows
Find: TypeAlias = Callable[[Tensor, nn.Module, sliding.Plan], tuple[T, int]]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The padded image that windows were laid over."""

    shape: tuple[int, ...]
    #: voxels of padding before the kept grid
    shift: Tensor
    overlap: float


@dataclass(frozen=True, kw_only=True)
class Searched(Generic[T]):
    """What was found in an input, and how."""

    found: T
    #: of (planes, rows, columns) as the network saw them
    shape: tuple[int, ...]
    #: None for the frames of an image, which are seen as they are
    grid: Grid | None
    clock: Laps
    #: of the run report
    options: dict[str, object]
    warnings: tuple[str, ...]


class Search:
    """A network that finds things in windows, on the device where it does."""

    def __init__(self, spec: ModelSpec, network: nn.Module, device: Device) -> None:
        self._spec = spec
        self._device = device
        self._plan = plan_windows(spec, choice_for(spec, device), device)
        self._network = network.to(device.torch, self._plan.dtype)

    def over(self, image: Input, find: Find[T], checkpoint: Checkpoint) -> Searched[T]:
        """Prepare an input and search it, on more modest plans where memory runs out.

        Raises:
            StudyRejected, OutOfMemory, Interrupted, DeadlineExceeded: as ``Predictor.predict``.

        """
        self._device.enter_thread()
        clock = Laps()
        stack, grid, warnings = self._prepare(image)
        clock.lap("preprocess")
        with self._device.hold(checkpoint):
            clock.lap("wait")
            (found, windows), plan, stepped = sliding.step_down(
                self._plan,
                lambda tried: find(stack, sliding.on(self._network, tried, self._plan), tried),
            )
        clock.lap("model")
        return Searched(
            found=found,
            shape=tuple(stack.shape[1:]),
            grid=grid,
            clock=clock,
            options=used_options(plan, windows),
            warnings=(*warnings, *stepped),
        )

    def _prepare(self, image: Input) -> tuple[Tensor, Grid | None, tuple[str, ...]]:
        """Return what the network sees, (channels, planes, rows, columns), and the way back."""
        if isinstance(image, Volume) or self._spec.input.spatial_dims == 3:
            volume = checks.volume(image, self._spec)
            prepared = preprocess.prepare(volume, self._spec.input)
            return prepared.image[None], prepared.grid, prepared.warnings
        return planes.frames(checks.picture(image, self._spec), self._spec.input)[0], None, ()


def sweep(
    image: Tensor,
    answering: Callable[[Tensor], Any],
    plan: sliding.Plan,
    checkpoint: Checkpoint,
) -> Iterator[tuple[sliding.Window, Seen, Answer]]:
    """Yield each window of an image (channels, *spatial), the padded image, and what is in it.

    ``answering`` is given windows (batch, channels, *size) and answers for each.
    """
    padded, inside = sliding.pad(image.to(plan.device), plan.size)
    windows = sliding.lay(padded.shape[1:], plan.size, plan.overlap)
    seen = Seen(
        shape=tuple(padded.shape[1:]),
        shift=torch.tensor([part.start for part in inside], dtype=torch.float32),
        overlap=plan.overlap,
    )
    for group, pixels in sliding.batches(padded, windows, plan):
        checkpoint()
        for window, answer in zip(group, answering(pixels), strict=False):  # the last repeats
            yield window, seen, answer


def belongs(edges: Tensor, window: sliding.Window, seen: Seen) -> Tensor:
    """Return which boxes of a window are its own: no neighbour sees their centres better.

    A box is left to the neighbour where its centre lies in the outer half of an overlap. The inner
    halves of all windows cover the image, so every box keeps one window.
    """
    start = torch.tensor([part.start for part in window], dtype=torch.float32)
    first, last = edges.chunk(2, dim=1)
    centres = (first + last) / 2 + start
    kept = torch.ones(len(edges), dtype=torch.bool)
    for axis, part in enumerate(window):
        margin = (part.stop - part.start) * seen.overlap / 2
        if part.start > 0:
            kept &= centres[:, axis] >= part.start + margin
        if part.stop < seen.shape[axis]:
            kept &= centres[:, axis] < part.stop - margin
    return kept
