"""What every network is held to: it can learn one batch by heart, and rounding does not matter."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

Inputs = Tensor | tuple[Tensor | None, ...]
_STEPS = 60


def assert_overfits(
    network: nn.Module,
    inputs: Inputs,
    targets: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    below: float = 0.05,
    rate: float = 0.01,
) -> None:
    """Train on one batch until the loss is below ``below``; every parameter must have a part in it.

    The network is left in training mode, with what it learned.
    """
    network.train()
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    found = []
    for _ in range(_STEPS):
        optimiser.zero_grad()
        value = loss(_answer(network, inputs), targets)
        value.backward()  # type: ignore[no-untyped-call]
        found.append(value.item())
        if found[-1] < below:
            break
        optimiser.step()
    assert found[0] > 2 * below, f"there was nothing to learn: {found[0]} at the start"
    assert found[-1] < below, f"after {_STEPS} steps the loss went from {found[0]} to {found[-1]}"
    idle = [name for name, one in network.named_parameters() if one.grad is None]
    assert not idle, f"no gradient reaches {', '.join(idle)}"


def assert_same_in_double(network: nn.Module, inputs: Inputs, *, within: float = 1e-4) -> None:
    """Compare the answers in float32 and in float64, in evaluation mode.

    They differ by no more than ``within`` of the largest value, and the answer is not the same
    everywhere.
    """
    network.eval()
    exact = copy.deepcopy(network).double()
    with torch.no_grad():
        answer = _answer(network, inputs)
        expected = _answer(exact, _in_double(inputs))
    assert answer.dtype == torch.float32
    assert expected.dtype == torch.float64
    assert expected.std() > 0
    difference = (answer.double() - expected).abs().max()
    assert difference <= within * expected.abs().max()


def _answer(network: nn.Module, inputs: Inputs) -> Tensor:
    answer: Tensor = network(*inputs) if isinstance(inputs, tuple) else network(inputs)
    return answer


def _in_double(inputs: Inputs) -> Inputs:
    """Return floating point tensors in float64; masks and lengths as they are."""
    if isinstance(inputs, tuple):
        return tuple(None if one is None else _widened(one) for one in inputs)
    return _widened(inputs)


def _widened(one: Tensor) -> Tensor:
    return one.double() if one.is_floating_point() else one
