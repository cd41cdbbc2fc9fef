"""What was measured of the ways to compute a network, and where it is kept."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.models import engines
from pipeline.models.devices import Device
from pipeline.models.engines import Choice
from pipeline.models.spec import ModelSpec


class Trial(BaseModel):
    """What was found of one candidate."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    choice: Choice
    #: of one window; None where it was not timed
    seconds: float | None = None
    #: of one window by the best candidate before it, timed in turns with this one
    rival: float | None = None
    #: share of voxels with the label of eager float32
    agreement: float | None = None
    #: largest error of a logit, as a share of the largest logit
    error: float | None = None
    #: why it is not used; empty = it may be
    refused: str = ""
    #: whether it agrees and is clearly faster than the best before it
    is_gain: bool = False


class Tuned(BaseModel):
    """The fastest of the candidates that agree, and what was found of all of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    choice: Choice
    trials: tuple[Trial, ...]


class Cache:
    """What was measured, in one JSON file. Thread-safe; what cannot be read counts as absent."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def find(self, key: str) -> Tuned | None:
        """Return what was measured under ``key``."""
        stated = self._read().get(key)
        try:
            return None if stated is None else Tuned.model_validate(stated)
        except ValidationError:
            return None

    def keep(self, key: str, tuned: Tuned) -> None:
        """Write a measurement, replacing an earlier one of the same key."""
        with self._lock:
            content = self._read() | {key: tuned.model_dump(mode="json")}
            partial = self._path.with_suffix(f".{os.getpid()}.partial")
            partial.write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")
            partial.replace(self._path)

    def _read(self) -> dict[str, object]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}


def key_of(spec: ModelSpec, device: Device) -> str:
    """Return what a measurement holds for: model, freedom of format, machine, torch, threads."""
    freedom = spec.options.get("dtype", "float32")
    return " | ".join(
        (spec.digest, str(freedom), machine(device), torch.__version__, f"{device.threads} threads")
    )


def machine(device: Device) -> str:
    """Return the name of a device and what decides which kernels torch picks there."""
    if device.torch.type == "cuda":
        return torch.cuda.get_device_name(device.torch)
    can = torch.cpu.get_capabilities()
    extras = [name for name in ("avx512_bf16", "avx512_fp16", "amx_tile") if can.get(name)]
    name = str(can.get("cpu_name", "processor"))
    return " ".join((name, torch.backends.cpu.get_cpu_capability(), *extras))


def choice_for(spec: ModelSpec, device: Device) -> Choice:
    """Return how a model is computed on a device: as measured, within what its bundle states.

    Its options may state the number format (``"auto"``: any; unmeasured, float32) and the batch.
    """
    found = device.tuned.find(key_of(spec, device)) if device.tuned is not None else None
    choice = engines.default(device) if found is None else found.choice
    stated, changes = spec.options.get("dtype", "float32"), dict[str, object]()
    if stated != "auto":
        changes["dtype"] = stated
    if spec.options.get("batch"):
        changes["batch"] = spec.options["batch"]
    return Choice.model_validate(choice.model_dump() | changes)
