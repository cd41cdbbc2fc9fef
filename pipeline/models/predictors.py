"""From bundles to predictors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from pipeline.models import weights
from pipeline.models.bundle import Bundle, BundleRefused
from pipeline.models.classification import ClassificationPredictor
from pipeline.models.detection import DetectionPredictor
from pipeline.models.devices import Device
from pipeline.models.predictor import Predictor
from pipeline.models.program import loading
from pipeline.models.segmentation import SegmentationPredictor
from pipeline.models.spec import Kind, ModelSpec
from pipeline.models.threshold import ThresholdPredictor

_WITH_NETWORK: Mapping[Kind, Callable[[ModelSpec, nn.Module, Device], Predictor]] = {
    Kind.CLASSIFICATION: ClassificationPredictor,
    Kind.SEGMENTATION: SegmentationPredictor,
    Kind.DETECTION: DetectionPredictor,
}


def open(bundle: Bundle, *, device: Device) -> Predictor:  # noqa: A001, read as predictors.open
    """Load a bundle on a device.

    Raises:
        BundleRefused: the weights do not fit the network, or the model is of a form we cannot run.

    """
    spec = bundle.spec
    if spec.kind is Kind.THRESHOLD:
        return ThresholdPredictor(spec)
    if spec.program is not None:
        return loading.open(bundle, device=device)
    if spec.input.spatial_dims == 2 and spec.kind is not Kind.CLASSIFICATION:
        raise BundleRefused(f"{spec.kind} of single images is not supported")
    return _WITH_NETWORK[spec.kind](spec, weights.load(bundle), device)
