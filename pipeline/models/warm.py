"""The models a process keeps loaded on one device, within a budget of memory."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from pipeline.errors import OutOfMemory
from pipeline.models import predictors, sliding
from pipeline.models.bundle import Bundle
from pipeline.models.devices import Device
from pipeline.models.predictor import Predictor


@dataclass(frozen=True, kw_only=True)
class Lent:
    """A loaded model, kept for whoever holds it."""

    predictor: Predictor
    #: seconds that this ask loaded; None where the model was loaded or loading already
    load_seconds: float | None


@dataclass(eq=False)
class _Place:
    """A model that is loaded or loading."""

    size: int
    waiting: Future[Predictor] = field(default_factory=Future)
    users: int = 0


def _ignore(digest: str) -> None:
    """Stand for a caller who counts nothing."""


class Warm:
    """Loaded models of one device by digest; of those not in use, the longest unused goes first.

    Thread-safe. Jobs that ask for the same model at once wait for one load. A model in use never
    goes, so what jobs hold at once may exceed the budget, and so may one model that is larger.
    """

    def __init__(
        self,
        device: Device,
        *,
        budget: int | None = None,
        on_evict: Callable[[str], None] = _ignore,
    ) -> None:
        """Keep models of ``budget`` bytes of weights together; None = all that were asked for.

        ``on_evict`` is called with the digest of each model that goes.
        """
        self.device = device
        self.budget = budget
        self._on_evict = on_evict
        self._places: OrderedDict[str, _Place] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def use(self, bundle: Bundle) -> Iterator[Lent]:
        """Lend the predictor of a bundle for the block, loading it where it is not loaded.

        Raises:
            BundleRefused: as ``predictors.open``; the next ask tries again.
            OutOfMemory: the model does not fit, even with no other beside it that is not in use.

        """
        place, is_mine = self._enter(bundle)
        try:
            seconds = self._load(bundle, place) if is_mine else None
            yield Lent(predictor=place.waiting.result(), load_seconds=seconds)
        finally:
            with self._lock:
                place.users -= 1
            self._make_room(self.budget)

    def digests(self) -> tuple[str, ...]:
        """Return the digests of what is loaded or loading, the longest unused first."""
        with self._lock:
            return tuple(self._places)

    @property
    def size(self) -> int:
        """Bytes of weights of what is loaded or loading."""
        with self._lock:
            return sum(place.size for place in self._places.values())

    def _enter(self, bundle: Bundle) -> tuple[_Place, bool]:
        """Return the place of a bundle, and whether the caller is the one to load it."""
        with self._lock:
            place = self._places.get(bundle.digest)
            is_mine = place is None
            if place is None:
                place = self._places[bundle.digest] = _Place(_weight_bytes(bundle))
            self._places.move_to_end(bundle.digest)
            place.users += 1
        return place, is_mine

    def _load(self, bundle: Bundle, place: _Place) -> float:
        began = time.perf_counter()
        self._make_room(self.budget)
        try:
            place.waiting.set_result(self._open(bundle))
        # whatever it was, those who wait must hear of it; ``use`` raises it in every one of them
        except BaseException as error:  # noqa: BLE001
            with self._lock:
                if self._places.get(bundle.digest) is place:
                    del self._places[bundle.digest]
            place.waiting.set_exception(error)
        return time.perf_counter() - began

    def _open(self, bundle: Bundle) -> Predictor:
        """Load a bundle; where memory runs out, once more without the models nobody uses."""
        try:
            return predictors.open(bundle, device=self.device)
        except (RuntimeError, MemoryError) as error:
            if not sliding.is_out_of_memory(error):
                raise
        self._make_room(0)
        if self.device.torch.type == "cuda":
            torch.cuda.empty_cache()
        try:
            return predictors.open(bundle, device=self.device)
        except (RuntimeError, MemoryError) as error:
            if not sliding.is_out_of_memory(error):
                raise
            raise OutOfMemory(f"no memory to load model {bundle.spec.name}") from error

    def _make_room(self, budget: int | None) -> None:
        """Let models go that nobody uses until those left fit into ``budget`` bytes.

        The one asked for last stays: a model larger than the budget is not loaded by every job.
        """
        if budget is None:
            return
        gone = []
        with self._lock:
            over = sum(place.size for place in self._places.values()) - budget
            for digest, place in list(self._places.items())[:-1]:
                if over > 0 and place.size and not place.users:
                    del self._places[digest]
                    over -= place.size
                    gone.append(digest)
        for digest in gone:
            self._on_evict(digest)


def _weight_bytes(bundle: Bundle) -> int:
    """Return what the weights of a bundle take, known before they are loaded."""
    return sum(path.stat().st_size for path in (bundle.folder / "models").glob("*"))
