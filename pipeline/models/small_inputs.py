"""Small inputs of several jobs in one forward pass.

A small network spends most of a pass on starting its layers, so thirty inputs together take little
longer than one. Kernels are chosen by shape, so the company an input had may change its answer in
the last digits of a float32 (1e-6 of a score), as another number of threads does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor, nn

from pipeline.models import sliding
from pipeline.models.beside import NOTHING, moved
from pipeline.models.predictor import Checkpoint

#: values of all inputs of a pass: what is larger gains nothing by company
_VALUES_TOGETHER: Final = 2**22
_MOST_TOGETHER: Final = 32
#: beyond this many inputs a multiple of it is run
_STEP: Final = 8
#: values of all inputs that are run twice, at most: those of more take longer than kernels
_VALUES_TWICE: Final = 2**15


def together(size: Sequence[int]) -> int:
    """Return how many inputs of ``size`` share a pass where a model does not say."""
    return max(1, min(_MOST_TOGETHER, _VALUES_TOGETHER // math.prod(size)))


def filled(count: int, size: Sequence[int]) -> int:
    """Return how many inputs of ``size`` are run where there are ``count``.

    On a CPU kernels are made anew for a number of inputs that did not come lately: 17 images of
    32 x 32 take a narrow DenseNet-121 70 ms, 32 of them, which come all the time, 28 ms. So there
    are few numbers, and the last input is repeated up to the next of them, if inputs are small.
    """
    step = max(1, min(_STEP, _VALUES_TWICE // math.prod(size)))
    return count if count <= step else -(-count // step) * step


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a network says of inputs."""

    #: float32 on the CPU, (inputs, ...)
    outputs: Tensor
    #: the plan that was possible in the end
    plan: sliding.Plan
    #: what had to be stepped down, in sentences
    warnings: tuple[str, ...]


def forward(
    network: nn.Module,
    plan: sliding.Plan,
    inputs: Tensor,
    *,
    checkpoint: Checkpoint,
    beside: Mapping[str, Tensor] = NOTHING,
) -> Answer:
    """Run inputs through a network, up to ``plan.batch`` at a time.

    Args:
        network: where ``plan`` wants it.
        plan: what is tried first.
        inputs: (n, channels, *spatial).
        checkpoint: called before each batch.
        beside: what the network takes beside them, (n, ...) by argument.

    Raises:
        OutOfMemory: memory ran out after every step down.
        Interrupted, DeadlineExceeded: by ``checkpoint``.

    """

    def attempt(tried: sliding.Plan) -> Tensor:
        there = sliding.on(network, tried, plan)
        with_all = moved(beside, tried.device, tried.dtype)
        found = []
        for first in range(0, len(inputs), tried.batch):
            checkpoint()
            here = slice(first, first + tried.batch)
            rows = inputs[here]
            count = min(tried.batch, filled(len(rows), size))
            with_them = {name: _repeated(one[here], count) for name, one in with_all.items()}
            answer = there(_repeated(rows, count).to(tried.device, tried.dtype), **with_them)
            found.append(answer[: len(rows)].float().cpu())
        return torch.cat(found)

    size = inputs.shape[1:]
    planned = replace(plan, batch=min(plan.batch, filled(len(inputs), size)))
    outputs, used, warnings = sliding.step_down(planned, attempt)
    return Answer(outputs=outputs, plan=used, warnings=warnings)


def _repeated(values: Tensor, count: int) -> Tensor:
    """Return ``values`` with the last of them repeated until there are ``count``."""
    missing = count - len(values)
    if not missing:
        return values
    return torch.cat([values, values[-1:].expand(missing, *values.shape[1:])])
