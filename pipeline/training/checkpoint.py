"""The checkpoint of a training: all that is needed to go on as if nothing had happened."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.errors import TrainingRefused
from pipeline.reasons import Reason
from pipeline.training import ranks
from pipeline.training.optimisation import Optimisation

Weights = dict[str, Tensor]

#: changes with what a checkpoint holds; one of another version of Nightshift is begun anew
_FORM: Final = 3


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch came to."""

    #: means over the batches, by name: the one that is learnt from first, then its parts
    losses: dict[str, float]
    #: of the validation part; None where it was not looked at
    score: float | None
    learning_rate: float

    @property
    def loss(self) -> float:
        """What was learnt from, by the first of several turns."""
        return next(iter(self.losses.values()))


@dataclass
class Progress:
    """Where a training stands, beside the states of network, optimiser and random numbers."""

    epoch: int = 0
    step: int = 0
    #: of this epoch so far, by name
    loss_sums: dict[str, float] = field(default_factory=dict)
    best_score: float | None = None
    best_epoch: int = 0
    is_stopped: bool = False
    #: spent on learning and validating, over all attempts
    seconds: float = 0.0
    history: list[Epoch] = field(default_factory=list)


class State:
    """All that a checkpoint holds."""

    def __init__(self, network: nn.Module, optimisation: Optimisation, digest: str) -> None:
        self.network = network
        self.optimisation = optimisation
        self.digest = digest
        self.progress = Progress()
        self.best: Weights = {}

    def keep_best(self) -> None:
        """Copy the weights that answer, as they are now."""
        self.best = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in self.optimisation.answering.state_dict().items()
        }

    def save(self, path: Path) -> None:
        """Write a checkpoint: a reader sees the old one or the new one, never a part.

        Of several processes the first one writes.
        """
        if ranks.number() != 0:
            return
        device = next(self.network.parameters()).device
        content = {
            "form": _FORM,
            "digest": self.digest,
            "progress": asdict(self.progress),
            "network": self.network.state_dict(),
            "optimisation": self.optimisation.state_dict(),
            "best": self.best,
            "random": {
                "torch": torch.get_rng_state(),
                "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
                "numpy": _numpy_state(),
                "python": random.getstate(),
            },
        }
        # what a killed attempt left takes room; one that was given up for lost and still writes
        # ends by missing its file
        for left in path.parent.glob(f"{path.name}.*.partial"):
            left.unlink(missing_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        try:
            with partial.open("wb") as file:
                torch.save(content, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:  # the disk is full, say: others need the room
            partial.unlink(missing_ok=True)
            raise

    def restore(self, path: Path, device: torch.device) -> None:
        """Continue from a checkpoint. No code in it runs: tensors and plain values only."""
        content: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if content.get("form") != _FORM:
            return
        if content["digest"] != self.digest:
            sentence = "the checkpoint belongs to another recipe or snapshot"
            raise TrainingRefused(sentence, Reason.TRAINING_RECIPE_INVALID)
        progress = content["progress"]
        history = [Epoch(**epoch) for epoch in progress.pop("history")]
        self.progress = Progress(**progress, history=history)
        self.network.load_state_dict(content["network"])
        self.optimisation.load_state_dict(content["optimisation"])
        self.best = content["best"]
        chance = content["random"]
        torch.set_rng_state(chance["torch"])
        if device.type == "cuda" and chance["cuda"] is not None:
            torch.cuda.set_rng_state(chance["cuda"], device)
        kind, keys, *rest = chance["numpy"]
        np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002 - as saved
        version, internal, gauss = chance["python"]
        random.setstate((version, tuple(internal), gauss))


def _numpy_state() -> tuple[Any, ...]:
    kind, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - MONAI's global generator
    return (str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest)
