"""How long does a step of learning take in mixed precision, against float32? Interleaved.

    python -m bench.mixed_precision [--rounds 9] [--threads 1]

The networks, sizes and batches of the quality bench's recipes on random images, by the program's
own optimisation: forward, backward, and the move of the weights. Exits with 1 where a step in mixed
precision is not faster. Where the processor has no AMX nothing is mixed, and nothing is measured.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from bench.quality.training import RECIPES
from pipeline.models import networks
from pipeline.models.devices import has_amx
from pipeline.training import recipe
from pipeline.training.optimisation import Optimisation
from pipeline.training.recipe import Recipe
from pipeline.training.task import Turn

#: by kind; what of a step belongs to a kind alone is small beside the network
NAMES: Final = ("brain-tumours", "nuclei", "hippocampus", "t1-super-resolution")


class Side:
    """One way to learn, and how long each of its steps took."""

    def __init__(self, wanted: Recipe, *, is_mixed: bool) -> None:
        torch.manual_seed(0)
        self.seconds: list[float] = []
        self._network = networks.build(wanted.network.name, wanted.network.arguments)
        turn = Turn(parameters=[*self._network.parameters()], loss=_loss)
        optimiser = wanted.optimiser.model_copy(update={"amp": is_mixed})
        self._learning = Optimisation(self._network.train(), [turn], optimiser, epochs=1)

    def step(self, images: Tensor) -> None:
        """Learn from one batch."""
        began = time.perf_counter()
        self._learning.learn(images, 0, 1)
        self.seconds.append(time.perf_counter() - began)


def _loss(network: nn.Module, images: Tensor) -> Tensor:
    answers: Tensor = network(images)
    return answers.float().square().mean()


def _images(wanted: Recipe) -> Tensor:
    channels: Any = next(
        wanted.network.arguments[name]
        for name in ("in_channels", "n_input_channels")
        if name in wanted.network.arguments
    )
    return torch.rand(wanted.batch, channels, *wanted.input.size)


def _measured(path: Path, rounds: int) -> tuple[float, float]:
    """Return the median milliseconds of a step in float32, and how many mixed ones go into it."""
    wanted = recipe.parse(path.read_text(encoding="utf-8"))
    images = _images(wanted)
    plain, mixed = Side(wanted, is_mixed=False), Side(wanted, is_mixed=True)
    for _ in range(rounds + 1):
        plain.step(images)
        mixed.step(images)
    # the first of each builds what the others use
    pairs = list(zip(plain.seconds, mixed.seconds, strict=True))[1:]
    return (
        statistics.median(plain.seconds[1:]) * 1000,
        statistics.median(one / other for one, other in pairs),
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.mixed_precision", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    if not has_amx():
        sys.stdout.write("mixed_precision: this processor has no AMX, so nothing is mixed\n")
        return 0
    torch.set_num_threads(asked.threads)
    missed = 0
    for name in NAMES:
        plain, ratio = _measured(RECIPES / f"{name}.yaml", asked.rounds)
        missed += ratio <= 1
        sys.stdout.write(f"{name}: {plain:.0f} ms in float32, mixed {ratio:.2f} times as fast\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
