"""Several answers of one model to one input: of its members, to mirrored views, thinned at random.

A thinned network is drawn once for each sample, not anew for every window or image of a batch: so
windows of one sample agree where they overlap, and no answer depends on what shares its batch. The
network itself is not changed: copies have layers of their own and share its weights.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.asking import Uncertainty
from pipeline.errors import ModelMismatch
from pipeline.models.averaging import Averaged, views
from pipeline.models.predictor import Checkpoint

_BY_CHANNEL: Final = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_BY_VALUE: Final = nn.Dropout
_Dropout: TypeAlias = nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d
Activation: TypeAlias = Literal["softmax", "sigmoid"]


def is_dropout(layer: nn.Module) -> bool:
    """Say whether a layer drops values while a network learns, with a probability that does so."""
    return isinstance(layer, (*_BY_CHANNEL, _BY_VALUE)) and 0.0 < layer.p < 1.0


def has_dropout(network: nn.Module) -> bool:
    """Say whether a network can be thinned."""
    return any(map(is_dropout, network.modules()))


def shared_copy(network: nn.Module) -> nn.Module:
    """Return a copy of the layers of a network, with the very same weights."""
    tensors = itertools.chain(network.parameters(), network.buffers())
    return copy.deepcopy(network, {id(one): one for one in tensors})


@dataclass
class Dice:
    """What all thinned layers of a network draw from."""

    generator: torch.Generator | None = None

    def roll(self, seed: int, sample: int, device: torch.device) -> None:
        """Begin the draws of a sample: alike for the same seed, unlike for every other one."""
        state = np.random.SeedSequence((seed, sample)).generate_state(1, np.uint64)[0]
        self.generator = torch.Generator(device).manual_seed(int(state) >> 1)


class Thinned(nn.Module):
    """Dropout that stays on and draws one mask for all that is along the first axis."""

    def __init__(self, layer: _Dropout, dice: Dice) -> None:
        super().__init__()
        self._kept = 1.0 - layer.p
        self._is_by_channel = isinstance(layer, _BY_CHANNEL)
        self._dice = dice

    def forward(self, values: Tensor) -> Tensor:
        """Return values with some of them 0 and the others larger by as much."""
        channels, *spatial = values.shape[1:]
        shape = (1, channels, *([1] * len(spatial) if self._is_by_channel else spatial))
        mask = torch.empty(shape, device=values.device, dtype=torch.float32)
        mask = mask.bernoulli_(self._kept, generator=self._dice.generator).div_(self._kept)
        return values * mask.to(values.dtype)


def thinned(network: nn.Module, dice: Dice) -> nn.Module:
    """Return a copy whose dropout layers are on; all others stay as they are in evaluation."""
    copied = shared_copy(network)
    for layer in list(copied.modules()):
        for name, child in list(layer.named_children()):
            if isinstance(child, (*_BY_CHANNEL, _BY_VALUE)) and is_dropout(child):
                setattr(layer, name, Thinned(child, dice))
    return copied


class Sampled(nn.Module):
    """All samples of a network: (batch, channels, *spatial) to (batch, samples, *answer)."""

    def __init__(self, network: nn.Module, asked: Uncertainty, checkpoint: Checkpoint) -> None:
        """Take a network in evaluation mode; ``checkpoint`` is called before each sample.

        Raises:
            ModelMismatch: it is to be thinned and has no dropout.

        """
        super().__init__()
        networks = [network]
        if asked.members and isinstance(network, Averaged):
            networks = network.alone()
        self._dice = Dice()
        self._seed = 0
        self._draws = 1
        if asked.monte_carlo_dropout is not None:
            if not has_dropout(network):
                raise ModelMismatch("the network has no dropout that could be left on")
            self._seed = asked.monte_carlo_dropout.seed
            self._draws = asked.monte_carlo_dropout.samples
            networks = [thinned(one, self._dice) for one in networks]
        self._networks = nn.ModuleList(networks)
        self._views = views(asked.flips, turns=False)

        def check() -> None:
            checkpoint()

        # copies of this module share a function; a method they would copy with what it belongs to
        self._checkpoint = check

    @property
    def samples(self) -> int:
        """How many answers there are."""
        return len(self._networks) * len(self._views) * self._draws

    def answers(self, images: Tensor, **beside: Tensor) -> Iterator[Tensor]:
        """Yield the answer of each sample, (batch, outputs[, *spatial]).

        Args:
            images: (batch, channels, *spatial).
            beside: what the network takes beside them, by its arguments.

        """
        every = itertools.product(self._networks, self._views, range(self._draws))
        try:
            for number, (network, view, _) in enumerate(every):
                self._checkpoint()
                self._dice.roll(self._seed, number, images.device)
                yield view.back(network(view.of(images), **beside))
        finally:
            self._dice.generator = None

    def forward(self, images: Tensor, **beside: Tensor) -> Tensor:
        """Return the answers of all samples, in the order of members, views and draws."""
        return torch.stack([answer.float() for answer in self.answers(images, **beside)], 1)


class Moments(nn.Module):
    """Mean and mean square of the softmax over all samples, as channels of one answer.

    (batch, channels, *spatial) becomes (batch, 2 * classes, *spatial), float32. Both are linear in
    the samples: windows are summed and voxels interpolated as logits are, and no sample is kept.
    """

    def __init__(self, sampled: Sampled, temperature: float) -> None:
        super().__init__()
        self._sampled = sampled
        self._temperature = temperature

    def forward(self, images: Tensor) -> Tensor:
        """Return the moments of a batch of windows."""
        mean = square = torch.zeros((), device=images.device)
        for answer in self._sampled.answers(images):
            likely = answer.float().div(self._temperature).softmax(1)
            mean, square = mean + likely, square + likely * likely
        return torch.cat([mean, square], 1) / self._sampled.samples
