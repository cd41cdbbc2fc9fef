"""How a network is computed: number format, memory layout, windows at once, engine, threads."""

from __future__ import annotations

import copy
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from pipeline.models.devices import Device

DTYPES: Final = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
Engine = Literal["eager", "compiled", "openvino"]


class Choice(BaseModel):
    """One way to compute a network. It is stored as JSON and said in run reports."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    layout: Literal["contiguous", "channels_last"] = "contiguous"
    batch: int = Field(ge=1, le=64)
    engine: Engine = "eager"
    threads: int = Field(ge=1)

    def memory_format(self, spatial_dims: int) -> torch.memory_format:
        """Return torch's name of the layout for so many spatial dimensions."""
        if self.layout == "contiguous":
            return torch.contiguous_format
        return torch.channels_last if spatial_dims == 2 else torch.channels_last_3d


class Prepared(nn.Module):
    """A network made ready for an engine. ``eager`` is the same network as torch runs it."""

    def __init__(self, eager: nn.Module, call: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.eager = eager
        self._call = call

    def forward(self, pixels: Tensor) -> Any:
        """Answer for a batch as the eager network would."""
        return self._call(pixels)


def default(device: Device) -> Choice:
    """Return what is chosen where nothing was measured.

    Two windows at once already leave the path of a CPU's float32 convolutions that is half as fast.
    """
    batch = 2 if device.torch.type == "cpu" else 4
    return Choice(batch=batch, threads=device.threads)


def available(device: Device) -> tuple[Engine, ...]:
    """Return the engines that can be tried on a device here."""
    has_openvino = device.torch.type == "cpu" and find_spec("openvino") is not None
    return ("eager", "compiled", "openvino") if has_openvino else ("eager", "compiled")


def prepare(
    network: nn.Module, choice: Choice, device: Device, window: tuple[int, ...]
) -> nn.Module:
    """Return a network in the form of ``choice``. The eager form is ``network`` itself, moved.

    Args:
        network: in evaluation mode.
        choice: what it becomes.
        device: where it runs.
        window: (channels, *spatial) of what it will be asked.

    """
    layout = choice.memory_format(len(window) - 1)
    network.to(device.torch, DTYPES[choice.dtype])
    network.to(memory_format=layout)  # type: ignore[call-overload]
    if choice.engine == "eager":
        return network
    pixels = torch.zeros((choice.batch, *window), device=device.torch, dtype=DTYPES[choice.dtype])
    pixels = pixels.contiguous(memory_format=layout)
    if choice.engine == "openvino":
        return Prepared(network, _openvino(network, choice, pixels))
    compiled: Any = torch.compile(network, dynamic=False)
    with torch.inference_mode():
        compiled(pixels)  # compiled now, not while a job waits for its first window
    return Prepared(network, compiled)


def eager(network: nn.Module) -> nn.Module:
    """Return the network that torch itself runs."""
    return network.eager if isinstance(network, Prepared) else network


def _openvino(network: nn.Module, choice: Choice, pixels: Tensor) -> Callable[[Tensor], Tensor]:
    openvino: Any = import_module("openvino")  # only where a user installed it
    # a copy, since conversion leaves traces in the modules
    converted = openvino.convert_model(
        copy.deepcopy(network), example_input=pixels, input=list(pixels.shape)
    )
    hints = {
        "INFERENCE_NUM_THREADS": choice.threads,
        "INFERENCE_PRECISION_HINT": "bf16" if choice.dtype == "bfloat16" else "f32",
    }
    compiled = openvino.Core().compile_model(converted, "CPU", hints)
    output = compiled.output(0)

    def call(windows: Tensor) -> Tensor:
        answer = compiled([windows.float().contiguous().numpy()])[output]
        return torch.from_numpy(answer.copy())

    return call
