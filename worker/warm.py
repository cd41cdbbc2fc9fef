"""The models this process keeps loaded. Imports torch when the first is asked for, or earlier."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from pipeline.errors import ComputeFailed
from pipeline.models import bundle
from pipeline.reasons import Reason
from records.orders import BoundModel
from worker import metrics
from worker.queue import devices
from worker.queue.settings import Settings

if TYPE_CHECKING:
    import torch

    from pipeline.models.devices import Device
    from pipeline.models.predictor import Predictor
    from pipeline.models.warm import Warm

#: what of a device's memory the weights may take where nothing is set. On a CPU there may be four
#: processes, each with its own; the rest is for images and for what networks make on the way
GPU_SHARE: Final = 4
CPU_SHARE: Final = 8
#: what of it the sums of one study's windows may take, divided by the processes. In each of them
#: one study at a time is summed
SUMS_SHARE: Final = 4
#: file in the home in which is kept how models run fastest on this machine
TUNED: Final = "tuned.json"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Used:
    """The models of one job, by step, while it runs."""

    predictors: Mapping[str, Predictor]
    #: the steps whose model this job had to load
    loaded: frozenset[str]


class Models:
    """Lends bound model versions on the device of this process, each loaded once."""

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

    @contextmanager
    def use(self, bound: Mapping[str, BoundModel]) -> Iterator[Used]:
        """Lend the predictor of each step for the block; none of them goes before it ends.

        Raises:
            ComputeFailed: a bundle in the store is missing, or not the bytes registered.
            OutOfMemory: no memory to load one.

        """
        warm = self.prepare()
        predictors: dict[str, Predictor] = {}
        loaded: set[str] = set()
        with ExitStack() as held:
            for step, model in bound.items():
                lent = held.enter_context(warm.use(self._bundle(model)))
                predictors[step] = lent.predictor
                if lent.load_seconds is not None:
                    loaded.add(step)
                    _note_load(model, lent.load_seconds)
            metrics.MODEL_BYTES.set(warm.size)
            yield Used(predictors=predictors, loaded=frozenset(loaded))

    def _bundle(self, bound: BoundModel) -> bundle.Bundle:
        with self._lock:
            checked = self._bundles.get(bound.digest)
            if checked is None:
                checked = self._bundles[bound.digest] = _checked(bound)
            return checked


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


def _note_load(model: BoundModel, seconds: float) -> None:
    metrics.MODEL_LOADS.inc()
    log.info("model.loaded", model=model.name, version=model.version, seconds=round(seconds, 3))


def _note_eviction(digest: str) -> None:
    metrics.MODEL_EVICTIONS.inc()
    log.info("model.evicted", digest=digest)


def device_of(settings: Settings) -> Device:
    """Return the device that this process predicts on, and what was measured of models there."""
    import torch

    from pipeline.models.devices import Device
    from pipeline.models.tuned import Cache

    name = settings.device.split(",")[0]  # all of them are for trainings
    if name == "auto":
        name = "cuda:0" if torch.cuda.is_available() else "cpu"
    tuned = Cache(settings.home / TUNED)
    share = SUMS_SHARE * devices.processes(settings)
    sums = settings.sums_memory or _memory(torch.device(name)) // share
    return Device(name, threads=settings.threads or None, tuned=tuned, sums=sums)


def _warm(settings: Settings) -> Warm:
    from pipeline.models.warm import Warm

    device = device_of(settings)
    share = GPU_SHARE if device.torch.type == "cuda" else CPU_SHARE
    budget = settings.model_memory or _memory(device.torch) // share
    return Warm(device, budget=budget, on_evict=_note_eviction)


def _memory(device: torch.device) -> int:
    """Return the bytes of a GPU, or those of the machine that may be used."""
    import torch

    if device.type == "cuda":
        _, total = torch.cuda.mem_get_info(device)
        return int(total)
    return devices.usable_memory()
