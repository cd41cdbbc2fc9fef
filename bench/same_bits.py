"""Does a step of learning that is made again in a fresh process end in the same bits?

    python -m bench.same_bits [--runs 500] [--threads 2]

Each run is a process of its own, forked before anything is computed, that takes one step of a small
network by the program's own optimisation. Half of the runs begin as a training does, half as torch
comes, fifty of each in turn. Exits with 1 where a run that begins as a training does ends in other
bits.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from typing import Final

import torch
import torch._dynamo  # by the first optimiser otherwise, a second in each run
from torch import Tensor, nn

from pipeline.training.fields import OptimiserField
from pipeline.training.loop import make_deterministic
from pipeline.training.optimisation import Optimisation
from pipeline.training.task import Turn

_SEED: Final = 1
_IN_TURN: Final = 50


def outcomes(runs: int, threads: int, *, is_settled: bool) -> Counter[bytes]:
    """Return how many of the runs ended in which weights."""
    return Counter(_in_a_process(threads, is_settled=is_settled) for _ in range(runs))


def _in_a_process(threads: int, *, is_settled: bool) -> bytes:
    """Return the weights of a step that a forked process takes; none where it ended otherwise."""
    ours, its = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            torch.set_num_threads(threads)
            if is_settled:
                make_deterministic(_SEED)
            else:
                torch.manual_seed(_SEED)
            os.write(its, _weights_after_a_step())
        finally:
            os._exit(0)  # nothing of the parent's is to be tidied up here
    os.close(its)
    with os.fdopen(ours, "rb") as answer:
        weights = answer.read()
    os.waitpid(child, 0)
    return weights


def _weights_after_a_step() -> bytes:
    """Return the bytes of all weights, the first ones enough of them for two threads."""
    network = nn.Sequential(
        nn.Conv3d(1, 8, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm3d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(8, 2),
    )
    turn = Turn(parameters=[*network.parameters()], loss=_loss)
    learning = Optimisation(network, [turn], OptimiserField(name="adamw"), epochs=1)
    learning.learn(torch.rand(2, 1, 16, 32, 32), 0, 1)
    return b"".join(weight.detach().numpy().tobytes() for weight in network.parameters())


def _loss(network: nn.Module, images: Tensor) -> Tensor:
    return nn.functional.cross_entropy(network(images), torch.arange(len(images)))


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.same_bits", description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    settled: Counter[bytes] = Counter()
    unsettled: Counter[bytes] = Counter()
    for first in range(0, asked.runs, _IN_TURN):
        runs = min(_IN_TURN, asked.runs - first)
        settled += outcomes(runs, asked.threads, is_settled=True)
        unsettled += outcomes(runs, asked.threads, is_settled=False)
    for name, found in (("as a training begins", settled), ("as torch comes", unsettled)):
        odd = found.total() - max(found.values())
        sys.stdout.write(f"{name}: {odd} of {found.total()} runs end in other bits\n")
    return 0 if len(settled) == 1 and b"" not in settled else 1


if __name__ == "__main__":
    sys.exit(main())
