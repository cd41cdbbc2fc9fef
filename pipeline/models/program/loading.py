"""From a bundle with a program to a predictor."""

from __future__ import annotations

import torch
from torch import nn

from pipeline.config.document import Document
from pipeline.config.refusal import ConfigRefused
from pipeline.models import weights
from pipeline.models.bundle import Bundle, BundleRefused
from pipeline.models.devices import Device
from pipeline.models.program import flow, layout, lowering
from pipeline.models.program.flow import Run
from pipeline.models.program.handing import Handing
from pipeline.models.program.lowered import LoweredPredictor
from pipeline.models.program.lowering import NotLowered
from pipeline.models.program.predictor import Program, ProgramPredictor
from pipeline.models.program.resolving import DEVICE, resolver
from pipeline.models.segmentation import SegmentationPredictor
from pipeline.models.spec import ModelSpec


def open(bundle: Bundle, *, device: Device) -> ProgramPredictor | LoweredPredictor:  # noqa: A001, read as loading.open
    """Load a bundle whose metadata names a program.

    Raises:
        BundleRefused: a part of the configuration cannot be resolved, or the weights do not fit.

    """
    program, run = _built(bundle)
    try:
        usual = lowering.lowered(bundle.spec, run)
    except NotLowered as other:
        return ProgramPredictor(bundle.spec, program, device, why=str(other))
    why = "MONAI lays its grid elsewhere on this oblique volume"
    written = ProgramPredictor(bundle.spec, program, device, why=why)
    return LoweredPredictor(written, SegmentationPredictor(usual, program.network, device))


def lowered(bundle: Bundle) -> tuple[ModelSpec, nn.Module]:
    """Return the spec and the network by which ``SegmentationPredictor`` answers as a program.

    Raises:
        NotLowered: the program is of another form.
        BundleRefused: as ``open``.

    """
    program, run = _built(bundle)
    return lowering.lowered(bundle.spec, run), program.network


def _built(bundle: Bundle) -> tuple[Program, Run]:
    """Return a program with its weights, and its objects for images that never come."""
    if bundle.spec.program is None:
        raise BundleRefused("the model has no program")
    try:
        document = Document.read([bundle.folder / bundle.spec.program])
        parts = layout.read(document)
        cpu = torch.device("cpu")
        network = resolver(document, given={DEVICE: cpu}, load=Handing({})).get(parts.network[0])
    except ConfigRefused as refused:
        raise BundleRefused(refused.faults) from refused
    if not isinstance(network, nn.Module):
        raise BundleRefused(f"{parts.network[0]} is no network")
    weights.fill(network, bundle)
    # an image for each channel that never comes: programs load them under one key or several
    files = {f"image-{number}": None for number in range(bundle.spec.input.channels)}
    try:
        run = flow.build(document, parts, files, network, cpu)
    except ConfigRefused as refused:
        raise BundleRefused(refused.faults) from refused
    return Program(document=document, layout=parts, network=network), run
