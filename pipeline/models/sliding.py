"""Windows over an image, run in batches and stitched by gaussian or equal weights.

The result is that of MONAI's ``SlidingWindowInferer``, its ``mode`` our ``blend``, its padding
"constant". Batches keep one shape from the first to the last, since kernels are chosen by shape and
a batch of one takes a path that is half as fast on CPUs. Sums are made in place, and in blocks
where the whole would take too much memory (``pipeline.models.stitching``).
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from monai.data.utils import dense_patch_slices
from torch import Tensor, nn

from pipeline.errors import ModelMismatch, OutOfMemory
from pipeline.models import batching, engines, stitching
from pipeline.models.batching import Passage, Queue, Shape
from pipeline.models.predictor import Checkpoint
from pipeline.models.spec import ModelSpec
from pipeline.models.stitching import Blend, Finish, Sweep

Window = tuple[slice, ...]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How windows are laid and run."""

    #: voxels along each axis
    size: tuple[int, ...]
    overlap: float
    batch: int
    device: torch.device
    dtype: torch.dtype = torch.float32
    layout: torch.memory_format = torch.contiguous_format
    #: whether an image with fewer windows than a batch repeats one: on a CPU that costs as much
    #: as another window
    is_full: bool = False
    #: where the sum is kept; None = on the device
    stitch_on: torch.device | None = None
    blend: Blend = "gaussian"


@dataclass(frozen=True, kw_only=True)
class Passed:
    """How an image went through a network."""

    windows: int
    #: of these, how many not for the first time
    again: int = 0
    #: the plan that was possible in the end
    plan: Plan
    #: what had to be stepped down, and what was run again, in sentences
    warnings: tuple[str, ...] = ()
    #: ``wait`` for the device, ``model`` calls for this image's windows, ``stitch`` for the rest
    seconds: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Stitched(Passed):
    """The network's answer for a whole image."""

    #: float32, (outputs, *image shape)
    logits: Tensor


def lay(shape: Sequence[int], size: Sequence[int], overlap: float) -> list[Window]:
    """Return the windows of ``size`` that cover ``shape``, in MONAI's order.

    ``shape`` must not be smaller than ``size`` along any axis.
    """
    intervals = [
        extent if extent == whole else max(1, int(extent * (1 - overlap)))
        for whole, extent in zip(shape, size, strict=True)
    ]
    laid = dense_patch_slices(shape, size, intervals)
    # plain integers, which many steps count with
    return [tuple(slice(int(part.start), int(part.stop)) for part in window) for window in laid]


def run(network: nn.Module, image: Tensor, plan: Plan, *, checkpoint: Checkpoint) -> Stitched:
    """Run a network over an image of shape (channels, *spatial) and keep the whole answer.

    Raises:
        OutOfMemory, Interrupted, DeadlineExceeded: as ``pass_over``.

    """
    found: list[Tensor] = []
    sweep = Sweep(
        axes=tuple(range(len(plan.size))),
        room=sys.maxsize,
        finish=lambda _, logits: found.append(logits),
    )
    passed = pass_over(network, image, plan, sweep=sweep, checkpoint=checkpoint)
    return Stitched(logits=found[-1], **vars(passed))


def pass_over(
    network: nn.Module,
    image: Tensor,
    plan: Plan,
    *,
    sweep: Sweep,
    checkpoint: Checkpoint,
    queue: Queue | None = None,
) -> Passed:
    """Run a network over an image and hand over its logits block by block, each when it is done.

    Where memory runs out it is begun again on a more modest plan, so a block may come twice; the
    last is what counts.

    Args:
        network: answers (batch, channels, *size) with (batch, outputs, *size).
        image: (channels, *spatial), on any device.
        plan: how windows are run.
        sweep: what becomes of the logits. Blocks that are left after the last window come when the
            device has been given back.
        checkpoint: called between batches and while waiting.
        queue: where to wait for the device and whose windows share our batches; None = at once.

    Raises:
        ValueError: an image without voxels.
        OutOfMemory: memory ran out after every step down.
        Interrupted, DeadlineExceeded: by ``checkpoint``.

    """
    padded, inside = pad(image, plan.size)
    if not padded.numel():
        raise ValueError("an image without voxels has no windows")
    windows = stitching.in_order(lay(padded.shape[1:], plan.size, plan.overlap), sweep.axes)
    sweep = replace(sweep, finish=_without(inside, sweep.finish))
    planned = Passage(padded, windows, _shape(plan, len(windows)), sweep=sweep)

    def attempt(tried: Plan) -> tuple[Passage, float]:
        if tried is plan:
            return planned, batching.drive(network, planned, queue, checkpoint)
        planned.forget()
        alone = Passage(padded, windows, _shape(tried, len(windows)), sweep=sweep)
        return alone, batching.drive(on(network, tried, plan), alone, None, checkpoint)

    asked = time.perf_counter()
    with queue.turn(planned, checkpoint) if queue is not None else nullcontext():
        waited, before = time.perf_counter() - asked, planned.call_seconds()
        (passage, outside), possible, warnings = step_down(plan, attempt)
    with torch.inference_mode():
        passage.hand_over()
    return Passed(
        windows=passage.runs,
        again=passage.runs - len(windows),
        plan=possible,
        warnings=(*warnings, *passage.sentences()),
        seconds={
            # others may have run windows of ours meanwhile
            "wait": max(0.0, waited - before),
            "model": passage.call_seconds(),
            "stitch": outside,
        },
    )


def require_finite(values: Tensor, spec: ModelSpec) -> None:
    """Check what a network answered with: one value that is no number makes their sum none.

    Raises:
        ModelMismatch: values are not finite.

    """
    if not torch.isfinite(values.sum()):
        raise ModelMismatch(f"model {spec.name} answered with values that are not finite")


def step_down(plan: Plan, attempt: Callable[[Plan], T]) -> tuple[T, Plan, tuple[str, ...]]:
    """Try a plan and, when memory runs out, ever more modest ones, each from the start.

    Half the batch, down to 1; then the sum kept on the CPU; then everything on the CPU.

    Returns:
        The answer, the plan that gave it, and what ran out before, in sentences.

    Raises:
        OutOfMemory: nothing of that helped.

    """
    warnings: list[str] = []
    for tried in _downwards(plan):
        try:
            with torch.inference_mode():
                return attempt(tried), tried, tuple(warnings)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            warnings.append(f"memory ran out with {_say(tried)}")
        _release(plan.device)
    raise OutOfMemory("; ".join(warnings))


def on(network: nn.Module, tried: Plan, planned: Plan) -> nn.Module:
    """Return the network where ``tried`` wants it: a copy if it moved, since others share it.

    Engines are made for the batch of the plan; another batch is run by torch itself.
    """
    plain = network if tried.batch == planned.batch else engines.eager(network)
    if tried.device == planned.device:
        return plain
    return copied(engines.eager(network), tried.device)


def copied(network: nn.Module, device: torch.device) -> nn.Module:
    """Return a copy of a network on another device, which takes no room where the network is."""
    moved: dict[int, object] = {
        id(one): nn.Parameter(one.detach().to(device), requires_grad=False)
        for one in network.parameters()
    }
    moved |= {id(one): one.detach().to(device) for one in network.buffers()}
    return copy.deepcopy(network, moved).to(device)


def batches(
    image: Tensor, windows: Sequence[Window], plan: Plan, *, beside: int = 0
) -> Iterator[tuple[Sequence[Window], Tensor]]:
    """Yield windows and their pixels (batch, channels, *size), the batch always full.

    The last batch repeats its last window. The tensor is reused: take what is needed at once.
    Where ``image`` begins and ends with ``beside`` more planes than ``windows`` are laid in, the
    pixels have as many more on both sides.
    """
    batch = min(plan.batch, len(windows))
    size = (plan.size[0] + 2 * beside, *plan.size[1:])
    pixels = torch.empty((batch, image.shape[0], *size), dtype=plan.dtype, device=plan.device)
    for first in range(0, len(windows), batch):
        group = windows[first : first + batch]
        for slot in range(batch):
            planes, *inside = group[min(slot, len(group) - 1)]
            thick = slice(planes.start, planes.stop + 2 * beside)
            pixels[slot].copy_(image[(slice(None), thick, *inside)])
        yield group, pixels


def pad(image: Tensor, size: Sequence[int]) -> tuple[Tensor, Window]:
    """Pad an image (channels, *spatial) with zeros to at least ``size``, on both sides alike.

    Returns:
        The padded image, and where the original lies in it.

    """
    widths: list[int] = []
    inside = []
    for have, need in zip(image.shape[1:], size, strict=True):
        missing = max(need - have, 0)
        widths = [missing // 2, missing - missing // 2, *widths]
        inside.append(slice(missing // 2, missing // 2 + have))
    return (F.pad(image, widths) if any(widths) else image), tuple(inside)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error of torch or Python means that memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    # the CPU allocator and cuBLAS raise plain RuntimeErrors
    signs = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")
    return any(sign in text for sign in signs)


def _shape(plan: Plan, windows: int) -> Shape:
    """Return the shape of an image's batches."""
    return Shape(
        size=plan.size,
        batch=plan.batch if plan.is_full else min(plan.batch, windows),
        device=plan.device,
        dtype=plan.dtype,
        layout=plan.layout,
        sums_on=plan.stitch_on or plan.device,
        blend=plan.blend,
    )


def _without(inside: Window, finish: Finish) -> Finish:
    """Return ``finish`` for boxes of the padded image: it gets what lies in the image itself."""

    def kept(box: Window, logits: Tensor) -> None:
        places, parts = [], []
        for part, within in zip(box, inside, strict=True):
            low, high = max(part.start, within.start), min(part.stop, within.stop)
            places.append(slice(low - within.start, high - within.start))
            parts.append(slice(low - part.start, high - part.start))
        finish(tuple(places), logits[(slice(None), *parts)])

    return kept


def _downwards(plan: Plan) -> Iterator[Plan]:
    """Yield the plan and ever more modest ones."""
    yield plan
    batch = plan.batch
    while batch > 1:
        batch //= 2
        yield replace(plan, batch=batch)
    cpu = torch.device("cpu")
    if plan.device.type != "cpu":
        yield replace(plan, batch=1, stitch_on=cpu)
        yield replace(plan, batch=1, stitch_on=cpu, device=cpu)


def _say(plan: Plan) -> str:
    place = f", stitched on the {plan.stitch_on.type}" if plan.stitch_on else ""
    return f"{plan.batch} window{'s' * (plan.batch > 1)} at a time on the {plan.device.type}{place}"


def _release(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
