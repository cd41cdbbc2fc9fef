"""From bundles to predictors, and the models a process keeps warm."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future

from torch import nn

from pipeline.models import weights
from pipeline.models.bundle import Bundle, BundleRefused
from pipeline.models.classification import ClassificationPredictor
from pipeline.models.detection import DetectionPredictor
from pipeline.models.devices import Device
from pipeline.models.predictor import Predictor
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
    if spec.input.spatial_dims == 2 and spec.kind is not Kind.CLASSIFICATION:
        raise BundleRefused(f"{spec.kind} of single images is not supported")
    return _WITH_NETWORK[spec.kind](spec, weights.load(bundle), device)


class Warm:
    """Loaded models of one device by digest; the one not asked for longest goes first.

    Thread-safe. Jobs that ask for the same model at once wait for one load. A model that goes while
    a job still runs on it stays until that job lets go.
    """

    def __init__(self, device: Device, *, capacity: int = 4) -> None:
        if capacity < 1:
            raise ValueError("a cache of models needs room for one")
        self.device = device
        self._capacity = capacity
        self._loaded: OrderedDict[str, Future[Predictor]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, bundle: Bundle) -> Predictor:
        """Return the predictor of a bundle, loading it once.

        Raises:
            BundleRefused: as ``open``; the next ask tries again.

        """
        with self._lock:
            waiting = self._loaded.get(bundle.digest)
            is_mine = waiting is None
            if waiting is None:
                waiting = self._loaded[bundle.digest] = Future()
            self._loaded.move_to_end(bundle.digest)
            while len(self._loaded) > self._capacity:
                self._loaded.popitem(last=False)
        if is_mine:
            self._load(bundle, waiting)
        return waiting.result()

    def digests(self) -> tuple[str, ...]:
        """Return the digests of what is loaded or loading, the longest unused first."""
        with self._lock:
            return tuple(self._loaded)

    def _load(self, bundle: Bundle, waiting: Future[Predictor]) -> None:
        try:
            waiting.set_result(open(bundle, device=self.device))
        # whatever it was, those who wait must hear of it; ``get`` raises it in every one of them
        except BaseException as error:  # noqa: BLE001
            with self._lock:
                if self._loaded.get(bundle.digest) is waiting:
                    del self._loaded[bundle.digest]
            waiting.set_exception(error)
