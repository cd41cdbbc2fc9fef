"""The models this process keeps loaded. Imports torch when the first is asked for, or earlier."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.errors import ComputeFailed
from pipeline.models import bundle
from pipeline.reasons import Reason
from records.orders import BoundModel
from worker.queue.settings import Settings

if TYPE_CHECKING:
    from pipeline.models.predictor import Predictor
    from pipeline.models.predictors import Warm

#: loaded at once; the shipped analyses need six
CAPACITY: Final = 8


class Models:
    """Opens bound model versions on the device of this process, each once."""

    def __init__(self, settings: Settings) -> None:
        """Load nothing yet."""
        self._settings = settings
        self._lock = threading.Lock()
        self._warm: Warm | None = None
        self._bundles: dict[str, bundle.Bundle] = {}

    @property
    def device(self) -> str:
        """Name of the device, e.g. ``cuda:0``."""
        return str(self.prepare().device)

    def prepare(self) -> Warm:
        """Import torch and find the device, so that the first job need not wait for that."""
        with self._lock:
            if self._warm is None:
                self._warm = _warm(self._settings)
            return self._warm

    def open(self, bound: BoundModel) -> Predictor:
        """Return the predictor of a model version.

        Raises:
            ComputeFailed: its bundle in the store is missing, or not the bytes registered.

        """
        warm = self.prepare()
        with self._lock:
            loaded = self._bundles.get(bound.digest)
            if loaded is None:
                loaded = self._bundles[bound.digest] = _checked(bound)
        return warm.get(loaded)


def _checked(bound: BoundModel) -> bundle.Bundle:
    """Read a bundle and compare its digest with the one that was registered."""
    name = f"{bound.name} {bound.version}"
    try:
        loaded = bundle.load(Path(bound.path))
    except bundle.BundleRefused as refused:
        sentence = f"the bundle of {name} in the store is not whole"
        raise ComputeFailed(sentence, Reason.MODEL_UNAVAILABLE) from refused
    if loaded.digest != bound.digest:
        sentence = f"the bundle of {name} in the store is not the one that was registered"
        raise ComputeFailed(sentence, Reason.MODEL_UNAVAILABLE)
    return loaded


def _warm(settings: Settings) -> Warm:
    import torch

    from pipeline.models.devices import Device
    from pipeline.models.predictors import Warm

    name = settings.device
    if name == "auto":
        name = "cuda:0" if torch.cuda.is_available() else "cpu"
    return Warm(Device(name, threads=settings.threads or None), capacity=CAPACITY)
