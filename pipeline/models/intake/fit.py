"""Whether weights fit the network that a bundle states: names and shapes, none of them loaded."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import nn

from pipeline.config.document import Document
from pipeline.config.refusal import ConfigRefused
from pipeline.models import networks
from pipeline.models.program import layout, resolving
from pipeline.models.program.handing import Handing
from pipeline.models.spec import ModelSpec

_TOLD: Final = 5


def faults(
    spec: ModelSpec, document: Document | None, shapes: Mapping[str, Sequence[int]]
) -> list[str]:
    """Compare the tensors of a file with those of the network.

    Args:
        spec: what the bundle states.
        document: the configuration that states the network, None where ``spec`` does.
        shapes: of the file's tensors, by name.

    Returns:
        A sentence for each kind of fault, with the first few names; none where all fits.

    """
    try:
        network = _without_memory(spec, document)
    except ConfigRefused as refused:
        return refused.faults
    except (ValueError, TypeError, RuntimeError, LookupError, AttributeError) as error:
        # MONAI's classes refuse wrong arguments with any of these
        return [f"the network cannot be built: {' '.join(str(error).split())[:300]}"]
    expected = {name: list(value.shape) for name, value in network.state_dict().items()}
    missing = sorted(expected.keys() - shapes.keys())
    strange = sorted(shapes.keys() - expected.keys())
    others = [
        f"{name} {list(shapes[name])} instead of {shape}"
        for name, shape in expected.items()
        if name in shapes and list(shapes[name]) != shape
    ]
    said = (
        ("the weights lack what the network has", missing),
        ("the network has no place for weights", strange),
        ("weights of another shape than the network's", others),
    )
    return [f"{sentence}: {_few(names)}" for sentence, names in said if names]


def _without_memory(spec: ModelSpec, document: Document | None) -> nn.Module:
    try:
        with torch.device("meta"):
            return _built(spec, document)
    except (ConfigRefused, NotImplementedError, RuntimeError):
        # some networks compute with tensors while they are built
        return _built(spec, document)


def _built(spec: ModelSpec, document: Document | None) -> nn.Module:
    if document is None:
        return networks.build(spec.network or "", spec.network_arguments)
    # the last of the ids is the network itself, the first may be one that moves it to a device
    name = layout.read(document).network[-1]
    given = {resolving.DEVICE: torch.device("cpu")}
    # classes of torchvision warn of defaults that are filled with the bundle's weights anyway
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        built = resolving.resolver(document, given=given, load=Handing({})).get(name)
    if not isinstance(built, nn.Module):
        raise ConfigRefused(f"{name} is no network")
    return built


def _few(names: Sequence[str]) -> str:
    more = len(names) - _TOLD
    return ", ".join(names[:_TOLD]) + (f" and {more} more" if more > 0 else "")
