"""Several processes that train one model: each has a device and its share of every batch.

Gradients are summed by hand, in one call, and not by ``DistributedDataParallel``: a task may hold
several networks, let them learn in turns and call any part of them. Under torchrun every function
speaks to the other processes, so all of them call it at the same place; else it costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, TypeVar

import numpy as np
import torch
from torch import Tensor, distributed, nn

from pipeline.tied import end_with_parent

Item = TypeVar("Item")

#: the others wait while the first one validates
_PATIENCE: Final = timedelta(hours=12)


@contextmanager
def joined(kind: str) -> Iterator[None]:
    """Join the processes that torchrun has started; nothing to do where it has started none.

    ``kind``: of their devices, ``cuda`` or ``cpu``.
    """
    if not distributed.is_torchelastic_launched():
        yield
        return
    # torchrun starts each in a session of its own: whoever kills its group would leave them behind,
    # waiting for one another
    end_with_parent()
    distributed.init_process_group("nccl" if kind == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


@contextmanager
def first_before_others() -> Iterator[None]:
    """Let the first process do it alone, then the others, who find it done."""
    if count() > 1 and number() != 0:
        distributed.barrier()
    yield
    if count() > 1 and number() == 0:
        distributed.barrier()


def number() -> int:
    """Return which of the processes this is; 0 speaks and writes for all."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def count() -> int:
    """Return how many processes train this model."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def share(items: Sequence[Item]) -> Sequence[Item]:
    """Return this process's share of a batch; where there are too few, some are in two shares."""
    mine = items[number() :: count()]
    return mine or [items[number() % len(items)]]


def cases_in(batch: Any) -> int:
    """Return how many cases a batch holds: the length of the first tensor or list in it."""
    match batch:
        case Tensor() | list():
            return len(batch)
        case Mapping():
            return cases_in(next(iter(batch.values())))
        case tuple():
            return cases_in(batch[0])
        case _:
            message = f"a batch is made of tensors, lists, tuples and mappings, not {type(batch)}"
            raise TypeError(message)


def total(values: Sequence[float], device: torch.device) -> list[float]:
    """Return each value summed over the processes."""
    if count() == 1:
        return [*values]
    tensor = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.all_reduce(tensor)
    return [float(value) for value in tensor.cpu()]


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Sum the gradients over the processes, in place."""
    if count() == 1:
        return
    learning = [one for one in parameters if one.requires_grad]
    gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in learning]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(flat)
    parts = torch.split(flat, [gradient.numel() for gradient in gradients])
    for parameter, part in zip(learning, parts, strict=True):
        parameter.grad = part.view_as(parameter)


def any_of(*, is_so: bool, device: torch.device) -> bool:
    """Say whether it is so in any of the processes."""
    return total([float(is_so)], device)[0] > 0


def part_chances(seed: int, epoch: int, step: int) -> None:
    """Let every process but the first draw numbers of its own from here on, in dropout say."""
    if number() != 0:
        own = np.random.SeedSequence((seed, number(), epoch, step)).generate_state(1)
        torch.manual_seed(int(own[0]))


def told(value: float | None, device: torch.device) -> float | None:
    """Return what the first process says; what the others say does not count."""
    known, mine = value is not None, value or 0.0
    said = [float(known), mine] if number() == 0 else [0.0, 0.0]
    is_known, first = total(said, device)
    return first if is_known else None
