"""From bundles to predictors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from pipeline.models import averaging, networks, weights
from pipeline.models.bundle import Bundle
from pipeline.models.classical import ClassicalPredictor
from pipeline.models.classification import ClassificationPredictor
from pipeline.models.detection import DetectionPredictor
from pipeline.models.devices import Device
from pipeline.models.instances import InstancesPredictor
from pipeline.models.objects import ObjectsPredictor
from pipeline.models.planes import PlanesPredictor
from pipeline.models.predictor import Predictor
from pipeline.models.program import loading
from pipeline.models.restoration import RestorationPredictor
from pipeline.models.segmentation import SegmentationPredictor
from pipeline.models.spec import Kind, ModelSpec
from pipeline.models.threshold import ThresholdPredictor

_WITH_NETWORK: Mapping[tuple[Kind, int], Callable[[ModelSpec, nn.Module, Device], Predictor]] = {
    (Kind.CLASSIFICATION, 2): ClassificationPredictor,
    (Kind.CLASSIFICATION, 3): ClassificationPredictor,
    (Kind.SEGMENTATION, 2): PlanesPredictor,
    (Kind.SEGMENTATION, 3): SegmentationPredictor,
    (Kind.DETECTION, 2): DetectionPredictor,
    (Kind.DETECTION, 3): DetectionPredictor,
    (Kind.RESTORATION, 2): RestorationPredictor,
    (Kind.RESTORATION, 3): RestorationPredictor,
}


def open(bundle: Bundle, *, device: Device) -> Predictor:  # noqa: A001, read as predictors.open
    """Load a bundle on a device.

    Raises:
        BundleRefused: the weights do not fit the network, or the model is of a form we cannot run.

    """
    spec = bundle.spec
    if spec.kind is Kind.THRESHOLD:
        return ThresholdPredictor(spec)
    if spec.kind is Kind.CLASSICAL:
        return ClassicalPredictor(spec)
    if spec.program is not None:
        return loading.open(bundle, device=device)
    if networks.TABLE[spec.network or ""].finds_objects:
        return ObjectsPredictor(spec, weights.load(bundle), device)
    make = _WITH_NETWORK[spec.kind, spec.input.spatial_dims]
    made = make(spec, averaging.wrap(spec, weights.load(bundle)), device)
    if spec.options.get("instances") and isinstance(made, SegmentationPredictor | PlanesPredictor):
        return InstancesPredictor(made)
    return made
