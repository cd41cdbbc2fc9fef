"""Training a classification: whole volumes or single images, grey or in colours, cross-entropy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import StudyRejected
from pipeline.models import networks
from pipeline.models.whole_inputs import network_input
from pipeline.reasons import Reason
from pipeline.training import augmentation, data
from pipeline.training.data import Draw, Prepared
from pipeline.training.reading import Truth
from pipeline.training.recipe import Recipe
from pipeline.volume import Input, Volume


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
        return data.batch_count(self.recipe, len(self.prepared.training))

    def batches(self, epoch: int, first: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images (B, 1, *size) float32 and classes (B,) int64."""
        drawn = data.draws(self.recipe, len(self.prepared.training), epoch)
        for batch in data.in_batches(drawn, self.recipe.batch, first):
            images, classes = zip(*(self._case(draw) for draw in batch), strict=True)
            yield torch.stack(images).to(self.device), torch.tensor(classes, device=self.device)

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the cross-entropy."""
        images, classes = batch
        return functional.cross_entropy(network(images), classes)

    def score(self, network: nn.Module) -> float | None:
        """Return the negative cross-entropy on the validation part."""
        if not self.prepared.validation:
            return None
        losses = []
        for place in self.prepared.validation:
            arrays = data.load(place)
            images = torch.from_numpy(np.array(arrays["image"]))[None].to(self.device)
            classes = torch.tensor([int(arrays["class"])], device=self.device)
            losses.append(float(functional.cross_entropy(network(images), classes)))
        return -float(np.mean(losses))

    def _case(self, draw: Draw) -> tuple[Tensor, int]:
        arrays = data.load(self.prepared.training[draw.case])
        image = np.asarray(arrays["image"])
        wanted, random = self.recipe.augmentation, draw.random
        axes = augmentation.flipped_axes(image.ndim - 1, wanted, random)
        mirrored = np.flip(image, tuple(axis + 1 for axis in axes))
        warp = augmentation.warp(image.shape[1:], wanted, random)
        moved = mirrored if warp is None else warp.image(mirrored)
        return augmentation.vary(moved, wanted, random), int(arrays["class"])


def preparation(recipe: Recipe) -> data.Preparation:
    """Return what turns an image and its class into arrays at the network's size."""
    spec = recipe.spec("0")
    numbers = {label.name: label.number for label in recipe.labels}

    def arrays(image: Input, truth: Truth) -> Mapping[str, NDArray[Any]]:
        if isinstance(image, Volume) != (spec.input.spatial_dims == 3):
            wanted = "volumes" if spec.input.spatial_dims == 3 else "single images"
            sentence = f"this recipe is trained on {wanted}"
            raise StudyRejected(sentence, Reason.PIXELS_UNSUPPORTED)
        frames = network_input(image, spec)
        if len(frames) != 1 or frames.shape[1] != spec.input.channels:
            colour = "in colours" if spec.input.channels == 3 else "grey"
            sentence = f"a case is one image, {colour}, not a loop"
            raise StudyRejected(sentence, Reason.PIXELS_UNSUPPORTED)
        return {
            "image": frames[0].numpy(),  # (channels, *size)
            "class": np.asarray(numbers[str(truth.label)], np.int64),
        }

    return arrays
