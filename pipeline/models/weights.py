"""From a checked bundle to a network with its weights, in evaluation mode."""

from __future__ import annotations

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from pipeline.models import networks
from pipeline.models.bundle import Bundle, BundleRefused
from pipeline.models.spec import ModelSpec

#: what MONAI's classes refuse wrong arguments with, and torch weights that do not fit
_REFUSALS = (
    ValueError,
    TypeError,
    RuntimeError,
    IndexError,
    KeyError,
    NotImplementedError,
)


def load(bundle: Bundle) -> nn.Module:
    """Build the network of a bundle on the CPU and fill it.

    Its shapes are compared with the file's before it takes memory, so that a bundle whose metadata
    asks for more than its weights hold costs nothing.

    Raises:
        BundleRefused: no weights, arguments the class refuses, or weights that do not fit.

    """
    return fill(hollow(bundle.spec), bundle)


def hollow(spec: ModelSpec) -> nn.Module:
    """Build the network of a model without its weights, and without memory where that is possible.

    An ensemble is a ``ModuleList`` of its members.

    Raises:
        BundleRefused: no network, or arguments the class refuses.

    """
    name = spec.network
    if name is None:
        raise BundleRefused("the model has no network")
    try:
        with torch.device("meta" if networks.TABLE[name].is_lazy else "cpu"):
            return _build(name, spec)
    except _REFUSALS as error:
        raise BundleRefused(f"network {name}: {_first_line(error)}") from error


def _build(name: str, spec: ModelSpec) -> nn.Module:
    """Build the network, or a ``ModuleList`` of as many as the ensemble has members."""
    members = int(spec.options.get("members", 1))
    built = [networks.build(name, spec.network_arguments) for _ in range(members)]
    return built[0] if members == 1 else nn.ModuleList(built)


def fill(network: nn.Module, bundle: Bundle) -> nn.Module:
    """Give a network the weights of a bundle, in float32, evaluation mode and without gradients.

    Raises:
        BundleRefused: no weights, or weights that do not fit or are not finite.

    """
    if bundle.weights is None:
        raise BundleRefused("the model has no weights")
    name = bundle.spec.network or type(network).__name__
    try:
        state = load_file(bundle.weights)
        _check_finite(state)
        network.load_state_dict(state, strict=True, assign=True)
    except SafetensorError as error:
        raise BundleRefused(f"the weights cannot be read: {_first_line(error)}") from error
    except _REFUSALS as error:
        raise BundleRefused(f"network {name}: {_first_line(error)}") from error
    left = [buffer_name for buffer_name, buffer in network.named_buffers() if buffer.is_meta]
    if left:
        raise BundleRefused(f"network {name} keeps {left[0]} outside its weights")
    return network.float().eval().requires_grad_(requires_grad=False)


def _check_finite(state: dict[str, torch.Tensor]) -> None:
    for name, value in state.items():
        if not torch.isfinite(value).all():
            raise BundleRefused(f"the weight {name} holds values that are not finite")


def _first_line(error: Exception) -> str:
    """Return what went wrong without the page of shapes that may follow."""
    return " ".join(str(error).split())[:300]
