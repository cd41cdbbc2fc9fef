"""Training a classification: one class of several by cross-entropy, or any number of them.

A case is a volume, a loop or a single image, or several series on one grid as channels, some of
which may be missing, and beside it values of the patient. What a network takes of that, and by
which names, is what it takes in use (``pipeline.models.beside``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import StudyRejected
from pipeline.models import beside, checks, networks
from pipeline.models.spec import InputSpec
from pipeline.models.whole_inputs import network_input
from pipeline.reasons import Reason
from pipeline.training import augmentation, balance, data
from pipeline.training.data import Draw, Prepared
from pipeline.training.manifest.labels import classes_of
from pipeline.training.reading import Truth
from pipeline.training.recipe import Recipe
from pipeline.volume import Channels, Input, Volume

#: the image, its target, and what the network takes beside it, by name
_Case: TypeAlias = tuple[Tensor, Tensor, dict[str, Tensor]]
#: cases that are validated at a time
_TOGETHER: Final = 32
_IMAGE, _CLASS = "image", "class"


class Batch(NamedTuple):
    """What a step learns from."""

    #: float32, 0 to 1, (B, channels, *size)
    images: Tensor
    #: int64 (B,) classes, or float32 (B, classes) how far each is true
    targets: Tensor
    #: what the network takes beside images, by name: (B, ...)
    beside: Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Classification:
    """What a classification adds to the training loop."""

    recipe: Recipe
    prepared: Prepared
    device: torch.device

    def network(self) -> nn.Module:
        """Return the network with fresh weights."""
        return networks.build(self.recipe.network.name, self.recipe.network.arguments)

    def steps(self, epoch: int) -> int:
        """Return how many batches this epoch has."""
        del epoch
        return data.batch_count(self.recipe, self.prepared.training)

    def batches(self, epoch: int, first: int) -> Iterator[Batch]:
        """Yield the batches of an epoch from position ``first`` on."""
        drawn = data.draws(self.recipe, self.prepared.training, epoch)
        if self.recipe.classes.balance == "sampling":
            drawn = balance.sampled(drawn, self._truths, (self.recipe.seed, epoch))
        in_order = data.in_batches(drawn, self.recipe.batch, first)
        for number, batch in enumerate(in_order, first):
            made = self._batch([self._varied(draw) for draw in batch])
            random = np.random.default_rng((self.recipe.seed, epoch, 2, number))
            yield self._mixed(made, random) if self.recipe.augmentation.mixup else made

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the cross-entropy; of any number of classes the mean of each one's."""
        images, targets, more = batch
        wanted = self.recipe.classes
        weights = self._weights if wanted.balance == "weights" else None
        return self._entropy(network(images, **more), targets, weights, wanted.smoothing)

    def score(self, network: nn.Module) -> float | None:
        """Return the negative cross-entropy on the validation part, unweighted and unsmoothed."""
        places = self.prepared.validation
        if not places:
            return None
        total = 0.0
        for first in range(0, len(places), _TOGETHER):
            part = places[first : first + _TOGETHER]
            images, targets, more = self._batch([_case(data.load(place)) for place in part])
            total += len(part) * float(self._entropy(network(images, **more), targets))
        return -total / len(places)

    @cached_property
    def _truths(self) -> NDArray[np.float64]:
        return balance.truths(
            [np.asarray(data.load(place)[_CLASS]) for place in self.prepared.training],
            len(self.recipe.labels),
        )

    @cached_property
    def _weights(self) -> Tensor:
        several = self.recipe.takes_several_labels
        weigh = balance.odds_against if several else balance.class_weights
        return torch.from_numpy(weigh(self._truths).astype(np.float32)).to(self.device)

    def _entropy(
        self,
        logits: Tensor,
        targets: Tensor,
        weights: Tensor | None = None,
        smoothing: float = 0.0,
    ) -> Tensor:
        if self.recipe.takes_several_labels:
            soft = targets * (1.0 - smoothing) + smoothing / 2.0
            return functional.binary_cross_entropy_with_logits(logits, soft, pos_weight=weights)
        if weights is None:
            return functional.cross_entropy(logits, targets, label_smoothing=smoothing)
        # torch's mean divides by the weights in the batch: of few cases hardly any balance is left
        return functional.cross_entropy(
            logits, targets, weights, reduction="none", label_smoothing=smoothing
        ).mean()

    def _batch(self, cases: Sequence[_Case]) -> Batch:
        images, targets, more = zip(*cases, strict=True)
        return Batch(
            torch.stack(images).to(self.device),
            torch.stack(targets).to(self.device),
            {name: torch.stack([one[name] for one in more]).to(self.device) for name in more[0]},
        )

    def _mixed(self, batch: Batch, random: np.random.Generator) -> Batch:
        """Mix each case with another one of the batch; both classes are then partly true."""
        count, alpha = len(batch.images), self.recipe.augmentation.mixup
        shares = torch.from_numpy(random.beta(alpha, alpha, count).astype(np.float32))
        others = torch.from_numpy(random.permutation(count)).to(self.device)
        targets = batch.targets
        if targets.ndim == 1:
            targets = functional.one_hot(targets, len(self.recipe.labels)).float()

        def mix(values: Tensor) -> Tensor:
            share = shares.to(self.device).view(-1, *[1] * (values.ndim - 1))
            return share * values + (1.0 - share) * values[others]

        return Batch(mix(batch.images), mix(targets), batch.beside)

    def _varied(self, draw: Draw) -> _Case:
        arrays = data.load(self.prepared.training[draw.case])
        image = np.asarray(arrays[_IMAGE])
        wanted, random = self.recipe.augmentation, draw.random
        mirrored = augmentation.pose(image.ndim - 1, wanted, random).of(image)
        warp = augmentation.warp(image.shape[1:], wanted, random)
        moved = mirrored if warp is None else warp.image(mirrored)
        _, target, more = _case(arrays)
        if wanted.missing:
            more = augmentation.forget(more, wanted.missing, random)
        return augmentation.vary(moved, wanted, random), target, more


def _case(arrays: data.Arrays) -> _Case:
    """Return a prepared case as it is kept."""
    tensors = {name: torch.from_numpy(np.array(values)) for name, values in arrays.items()}
    return tensors.pop(_IMAGE), tensors.pop(_CLASS), tensors


def preparation(recipe: Recipe) -> data.Preparation:
    """Return what turns images and their classes into arrays at the network's size."""
    spec = recipe.spec("0")
    numbers = {label.name: label.number for label in recipe.labels}

    def arrays(image: Input | Channels, truth: Truth) -> Mapping[str, NDArray[Any]]:
        if not _is_taken(image, spec.input):
            sentence = f"this recipe is trained on {_taken(spec.input)}"
            raise StudyRejected(sentence, Reason.PIXELS_UNSUPPORTED)
        frames = network_input(image, spec)
        if len(frames) != 1 or frames.shape[1] != spec.input.channels:
            raise StudyRejected(_another_form(recipe), Reason.PIXELS_UNSUPPORTED)
        more = beside.of(image, spec).tensors
        return {
            _IMAGE: frames[0].numpy(),  # (channels, *size)
            _CLASS: _target(truth, numbers, several=recipe.takes_several_labels),
            **{name: values[0].numpy() for name, values in more.items()},
        }

    return arrays


def _is_taken(image: Input | Channels, wanted: InputSpec) -> bool:
    if isinstance(image, Volume | Channels):
        return wanted.spatial_dims == 3
    return wanted.spatial_dims == 2 or checks.is_sequence(image, wanted)


def _taken(wanted: InputSpec) -> str:
    if wanted.spatial_dims == 2:
        return "single images"
    return "volumes and loops" if checks.takes_loops(wanted) else "volumes"


def _target(truth: Truth, numbers: Mapping[str, int], *, several: bool) -> NDArray[Any]:
    """Return the number of the class, int64; of any number of classes float32, 1 where true."""
    stated = str(truth.label)
    if not several:
        return np.asarray(numbers[stated], np.int64)
    target = np.zeros(len(numbers), np.float32)
    target[[numbers[name] for name in classes_of(stated)]] = 1.0
    return target


def _another_form(recipe: Recipe) -> str:
    wanted = recipe.input.channels
    if recipe.input.spatial_dims == 3:
        return f"a case of this recipe has {wanted} series"
    colours = "in colours" if wanted == 3 else "grey"
    return f"a case is one image, {colours}; a network of three axes takes loops, in grey"
