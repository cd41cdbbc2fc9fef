"""Windows over an image, run in batches and stitched by gaussian weights.

The result is that of MONAI's ``SlidingWindowInferer(mode="gaussian", padding "constant")``. Batches
keep one shape from the first to the last, since kernels are chosen by shape and a batch of one
takes a path that is half as fast on CPUs. The sum is made in place.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from monai.data.utils import compute_importance_map, dense_patch_slices
from torch import Tensor, nn

from pipeline.errors import OutOfMemory
from pipeline.models.predictor import Checkpoint

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
    #: where the sum is kept; None = on the device
    stitch_on: torch.device | None = None


@dataclass(frozen=True, kw_only=True)
class Stitched:
    """The network's answer for a whole image."""

    #: float32, (outputs, *image shape)
    logits: Tensor
    windows: int
    #: the plan that was possible in the end
    plan: Plan
    #: what had to be stepped down, in sentences
    warnings: tuple[str, ...] = ()


def lay(shape: Sequence[int], size: Sequence[int], overlap: float) -> list[Window]:
    """Return the windows of ``size`` that cover ``shape``, in MONAI's order.

    ``shape`` must not be smaller than ``size`` along any axis.
    """
    intervals = [
        extent if extent == whole else max(1, int(extent * (1 - overlap)))
        for whole, extent in zip(shape, size, strict=True)
    ]
    return [tuple(window) for window in dense_patch_slices(shape, size, intervals)]


def run(network: nn.Module, image: Tensor, plan: Plan, *, checkpoint: Checkpoint) -> Stitched:
    """Run a network over an image of shape (channels, *spatial), stepping down where it must.

    Raises:
        OutOfMemory: memory ran out after every step down.
        Interrupted, DeadlineExceeded: by ``checkpoint``, called between batches.

    """

    def attempt(tried: Plan) -> tuple[Tensor, int]:
        return _stitch(on(network, tried, plan), image, tried, checkpoint)

    (logits, windows), possible, warnings = step_down(plan, attempt)
    return Stitched(logits=logits, windows=windows, plan=possible, warnings=warnings)


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
    """Return the network where ``tried`` wants it: a copy if it moved, since others share it."""
    if tried.device == planned.device:
        return network
    return copy.deepcopy(network).to(tried.device)


def batches(
    image: Tensor, windows: Sequence[Window], plan: Plan
) -> Iterator[tuple[Sequence[Window], Tensor]]:
    """Yield windows and their pixels (batch, channels, *size), the batch always full.

    The last batch repeats its last window. The tensor is reused: take what is needed at once.
    """
    batch = min(plan.batch, len(windows))
    pixels = torch.empty((batch, image.shape[0], *plan.size), dtype=plan.dtype, device=plan.device)
    for first in range(0, len(windows), batch):
        group = windows[first : first + batch]
        for slot in range(batch):
            window = group[min(slot, len(group) - 1)]
            pixels[slot].copy_(image[(slice(None), *window)])
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


def _stitch(
    network: nn.Module, image: Tensor, plan: Plan, checkpoint: Checkpoint
) -> tuple[Tensor, int]:
    keep = plan.stitch_on or plan.device
    padded, inside = pad(image, plan.size)
    windows = lay(padded.shape[1:], plan.size, plan.overlap)
    weight = compute_importance_map(plan.size, mode="gaussian", sigma_scale=0.125).to(keep)
    total: Tensor | None = None
    weights = torch.zeros(padded.shape[1:], device=keep)
    for group, pixels in batches(padded, windows, plan):
        checkpoint()
        answers = network(pixels)
        if total is None:
            total = torch.zeros((answers.shape[1], *padded.shape[1:]), device=keep)
        for window, answer in zip(group, answers, strict=False):  # the last batch repeats
            total[(slice(None), *window)].addcmul_(answer.to(keep, torch.float32), weight)
            weights[window].add_(weight)
    if total is None:
        raise ValueError("an image without voxels has no windows")
    return total.div_(weights)[(slice(None), *inside)], len(windows)


def _downwards(plan: Plan) -> Iterator[Plan]:
    """Yield the plan and ever more modest ones."""
    batch = plan.batch
    while True:
        yield replace(plan, batch=batch)
        if batch == 1:
            break
        batch //= 2
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
