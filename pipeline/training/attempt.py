"""One attempt at a training: what was asked of this process, and what it has to do it with."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pipeline.deidentify import keys
from pipeline.deidentify.keys import Key
from pipeline.errors import Interrupted, TrainingRefused
from pipeline.reasons import Reason
from pipeline.training.live import Say
from pipeline.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is asked of this process."""

    recipe: dict[str, Any]
    manifest: str
    #: kept between attempts: checkpoint, prepared cases
    folder: str
    #: where the bundle goes; must not exist
    bundle: str
    version: str
    #: ``auto``, or a device; of several processes each takes one of ``cuda:0,cuda:1``
    device: str = "auto"
    threads: int = 0
    #: where TensorBoard finds the curves; empty = none are kept
    tensorboard: str = ""
    #: checkpoints inside an epoch
    checkpoint_seconds: float = 300.0
    #: file of the key that patients are named under in what is kept of them, and that snapshots
    #: are de-identified with where the recipe asks for it
    deidentify_key: str = ""
    #: folder of prepared cases that trainings share (``cache``); empty = nothing is shared
    prepared: str = ""
    #: folders of the registered bundles that a recipe transfers from, by ``name@version``
    sources: dict[str, str] = field(default_factory=dict)
    #: where files of weights that a recipe transfers from lie; empty = beside the manifest
    weights: str = ""
    #: what the candidate is held against, as ``gating.GateOrder``; None = it is not
    gate: dict[str, Any] | None = None

    def shared_cases(self) -> Path | None:
        """Return the folder of prepared cases that trainings share, if there is one."""
        return Path(self.prepared) if self.prepared else None

    def weights_folder(self) -> Path:
        """Return the folder of the files of weights that a recipe may begin with."""
        return Path(self.weights) if self.weights else Path(self.manifest).parent

    def devices(self) -> list[torch.device]:
        """Return the device of each process."""
        if self.device != "auto":
            return [torch.device(name) for name in self.device.split(",")]
        return [torch.device("cuda:0" if torch.cuda.is_available() else "cpu")]

    def key(self) -> Key:
        """Return the key of the installation, made where there is none yet.

        Raises:
            TrainingRefused: it cannot be used.

        """
        try:
            keys.make_key(Path(self.deidentify_key))
            return keys.read_key(Path(self.deidentify_key))
        except (OSError, keys.KeyRefused) as why:
            sentence = "the key for de-identification cannot be used"
            raise TrainingRefused(sentence, Reason.TRAINING_RECIPE_INVALID) from why


class Stop:
    """Set by SIGTERM, asked between two steps."""

    def __init__(self) -> None:
        self.is_asked = False
        signal.signal(signal.SIGTERM, self._ask)

    def checkpoint(self) -> None:
        """Return if the work may go on.

        Raises:
            Interrupted: SIGTERM came.

        """
        if self.is_asked:
            raise Interrupted("asked to stop")

    def _ask(self, *_: object) -> None:
        self.is_asked = True


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """The order, its recipe checked, and the means."""

    order: Order
    recipe: Recipe
    device: torch.device
    say: Say
    stop: Stop

    @property
    def folder(self) -> Path:
        """What is kept between attempts."""
        return Path(self.order.folder)

    def enter(self, phase: str) -> None:
        """Say what is done from here on."""
        self.say({"event": "phase", "phase": phase})
