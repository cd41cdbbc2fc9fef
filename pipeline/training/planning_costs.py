"""What learning by a network takes, counted: the same on every machine, and nothing is timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.models import networks

#: of the budget; the rest is for reading, looking at the validation part, and judging
_SHARE: Final = 0.6
#: operations of learning per second and core; a forward pass is a third of them
_PER_CORE: Final = 25e9
_ON_A_GPU: Final = 2_000e9
#: a forward pass, and twice that backward
_PASSES: Final = 3.0
#: of a feature map that a layer answers with and its gradient, in float32
_BYTES: Final = 2 * 4


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a training may use."""

    minutes: float
    cores: int
    #: bytes that a step of learning may use
    memory: int
    has_gpu: bool = False

    @property
    def operations(self) -> float:
        """How much can be computed in the time that is for learning."""
        per_second = _ON_A_GPU if self.has_gpu else _PER_CORE * self.cores
        return _SHARE * 60.0 * self.minutes * per_second


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What learning from one input takes, roughly."""

    operations: float
    bytes: float

    def times(self, share: float) -> Cost:
        """Return what so many times as much takes."""
        return Cost(operations=self.operations * share, bytes=self.bytes * share)


def of(network: Mapping[str, Any], size: Sequence[int], device: str = "meta") -> Cost:
    """Count what learning from one input of a network takes.

    Args:
        network: ``name`` and ``arguments``, as recipes state them.
        size: voxels of the input along each axis of the network.
        device: where nothing is computed, or, for networks that look at their answers, "cpu".

    """
    row = networks.TABLE[network["name"]]
    kept: list[int] = []

    def keep(layer: nn.Module, given: object, answer: object) -> None:
        del layer, given
        if isinstance(answer, Tensor):
            kept.append(answer.numel())

    with torch.device("meta"):
        built = networks.build(network["name"], network["arguments"]).eval()
    if device != "meta":
        built.to_empty(device=device)
        for tensor in (*built.parameters(), *built.buffers()):
            tensor.detach().zero_()
    image = torch.zeros(1, network["arguments"][row.in_channels], *size, device=device)
    for layer in built.modules():
        if not [*layer.children()]:
            layer.register_forward_hook(keep)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        built(image)
    return Cost(
        operations=_PASSES * float(counter.get_total_flops()), bytes=float(_BYTES * sum(kept))
    )
