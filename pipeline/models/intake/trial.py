"""The last look: a bundle is loaded as a worker would load it, and the parts of a run are built."""

from __future__ import annotations

import warnings
from typing import Final

import torch
from torch import nn

from pipeline.config.document import Document
from pipeline.config.refusal import ConfigRefused
from pipeline.models import predictors
from pipeline.models.bundle import Bundle, BundleRefused
from pipeline.models.devices import Device
from pipeline.models.program import flow, layout, resolving
from pipeline.models.program.handing import Handing

_CPU: Final = torch.device("cpu")


def faults(made: Bundle, document: Document | None) -> list[str]:
    """Say why a worker could not load a bundle. Its weights are known to fit its network.

    Args:
        made: the bundle.
        document: the configuration that runs it, None where the metadata names a network.

    """
    try:
        with warnings.catch_warnings():
            # of defaults that MONAI and torchvision are about to change: no fault of a bundle
            warnings.simplefilter("ignore")
            if document is None:
                predictors.open(made, device=Device())
            else:
                _build(document, channels=made.spec.input.channels)
    except (BundleRefused, ConfigRefused) as refused:
        return refused.faults
    return []


def _build(document: Document, *, channels: int) -> None:
    """Build preprocessing, inferer and postprocessing for images that never come."""
    parts = layout.read(document)
    given = {resolving.DEVICE: _CPU}
    network = resolving.resolver(document, given=given, load=Handing({})).get(parts.network[0])
    if not isinstance(network, nn.Module):
        raise ConfigRefused(f"{parts.network[0]} is no network")
    # an image for each channel: programs load them one by one or all under one key
    files = {f"image-{number}": None for number in range(channels)}
    flow.build(document, parts, files, network, _CPU)
