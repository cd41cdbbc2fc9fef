"""Training a segmentation: patches of volumes or of single images, and the masks that go with them.

A network of two axes learns from planes: the frames of an image, the slices of a volume.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.errors import StudyRejected
from pipeline.models import sliding
from pipeline.models.grids import Grid
from pipeline.models.planes import PlaneWise
from pipeline.reasons import Reason
from pipeline.training import augmentation, data, deep_supervision, patches
from pipeline.training.checkpoint import Weights
from pipeline.training.data import Arrays, Draw, Prepared
from pipeline.training.reading import Truth
from pipeline.training.recipe import Recipe
from pipeline.training.segmentation_losses import LOSSES
from pipeline.volume import Input

_Number = TypeVar("_Number", bound=np.integer[Any])


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """What a segmentation adds to the training loop."""

    recipe: Recipe
    prepared: Prepared
    device: torch.device

    def network(self) -> nn.Module:
        """Return the network with fresh weights."""
        return deep_supervision.network(self.recipe.network, self.recipe.deep_supervision)

    def steps(self, epoch: int) -> int:
        """Return how many batches this epoch has."""
        del epoch
        return data.batch_count(self.recipe, self.prepared.training)

    def batches(self, epoch: int, first: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images (B, channels, *size) float32 and masks (B, 1, *size) int64."""
        drawn = data.draws(self.recipe, self.prepared.training, epoch)
        for batch in data.in_batches(drawn, self.recipe.batch, first):
            images, masks = zip(*(self._patch(draw) for draw in batch), strict=True)
            yield torch.stack(images).to(self.device), torch.stack(masks).to(self.device)

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the loss that the recipe names, of all answers that the network gives."""
        images, masks = batch
        return deep_supervision.loss(network(images), masks, LOSSES[self.recipe.loss])

    def score(self, network: nn.Module) -> float | None:
        """Return the mean Dice over labels, each pooled over the validation part."""
        if not self.prepared.validation:
            return None
        labels = len(self.recipe.labels)
        both, sizes = np.zeros(labels), np.zeros(labels)
        for place in self.prepared.validation:
            arrays = data.load(place)
            found = self._predict(network, np.asarray(arrays["image"]))
            for number in range(1, labels + 1):
                is_found, is_true = found == number, arrays["mask"] == number
                both[number - 1] += np.count_nonzero(is_found & is_true)
                sizes[number - 1] += np.count_nonzero(is_found) + np.count_nonzero(is_true)
        return float(np.mean((2.0 * both + 1e-6) / (sizes + 1e-6)))

    def _predict(self, network: nn.Module, image: NDArray[np.float32]) -> NDArray[np.uint8]:
        plan = sliding.Plan(
            size=patches.window(self.recipe.input),
            overlap=self.recipe.input.overlap,
            batch=2,
            device=self.device,
        )
        answering = PlaneWise(network) if self.recipe.input.spatial_dims == 2 else network
        tensor = torch.from_numpy(image.copy()).to(self.device)
        stitched = sliding.run(answering, tensor, plan, checkpoint=lambda: None)
        labels: NDArray[np.uint8] = stitched.logits.argmax(0).to(torch.uint8).cpu().numpy()
        return labels

    def _patch(self, draw: Draw) -> tuple[Tensor, Tensor]:
        arrays = data.load(self.prepared.training[draw.case])
        wanted, random = self.recipe.augmentation, draw.random
        size, flat = patches.window(self.recipe.input), self.recipe.input.size
        start = data.patch_start(arrays["mask"].shape, size, self._centre(arrays, random), random)
        pose = patches.pose(self.recipe, random)
        warp = augmentation.warp(flat, wanted, random)
        image = pose.of(patches.cut(arrays["image"], start, size, warp))
        truth = pose.of(patches.cut(arrays["mask"][None], start, size, warp))
        if warp is not None:
            image, truth = warp.image(image), warp.mask(truth)
        varied = augmentation.vary(image, wanted, random)
        masks = torch.from_numpy(truth.astype(np.int64))
        return varied.reshape(-1, *flat), masks.reshape(1, *flat)

    def _centre(self, arrays: Arrays, random: np.random.Generator) -> Sequence[float] | None:
        """Choose a labelled voxel for a patch to lie around, or none."""
        marked, bounds = arrays["marked"], arrays["bounds"]
        if not len(marked) or random.random() >= self.recipe.foreground:
            return None
        first, past = 0, len(marked)
        if self.recipe.balanced:
            label = int(random.choice(np.flatnonzero(np.diff(bounds))))
            first, past = int(bounds[label]), int(bounds[label + 1])
        voxel = int(marked[int(random.integers(first, past))])
        return [float(index) for index in np.unravel_index(voxel, arrays["mask"].shape)]


def preparation(recipe: Recipe) -> data.Preparation:
    """Return what turns an image and its mask into arrays on the network's grid."""
    spec = recipe.spec("0").input

    def arrays(image: Input, truth: Truth) -> Mapping[str, NDArray[Any]]:
        if truth.mask is None:
            raise StudyRejected("a segmentation is trained on masks", Reason.PIXELS_UNSUPPORTED)
        prepared, grid = patches.prepared(image, spec)
        mask = truth.mask if grid is None else mask_on(truth.mask, grid)
        marked = np.flatnonzero(mask)
        numbers = mask.reshape(-1)[marked]
        counts = np.bincount(numbers, minlength=len(recipe.labels) + 1)
        return {
            "image": prepared.numpy(),
            "mask": mask,
            # where patches may be centred: flat indices, those of label 1 first
            "marked": marked[np.argsort(numbers, kind="stable")].astype(np.int64),
            # the first of each label, and at the end how many there are
            "bounds": np.cumsum(counts).astype(np.int64),
        }

    return arrays


def bundle_weights(recipe: Recipe, weights: Weights) -> Weights:
    """Return the weights without those of answers that the model in use does not give."""
    if not recipe.deep_supervision:
        return weights
    return deep_supervision.bundle_weights(recipe.network, weights)


def mask_on(mask: NDArray[_Number], grid: Grid) -> NDArray[_Number]:
    """Take a mask, or a map of objects, to the network's grid: the nearest voxel counts."""
    for axis in range(3):
        nearest = np.rint(grid.positions(axis)).astype(np.int64)
        mask = np.take(mask, nearest, axis=grid.axes[axis])
    return np.ascontiguousarray(mask.transpose(grid.axes))
