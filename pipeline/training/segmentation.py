"""Training a segmentation: patches of volumes or of single images, Dice and cross-entropy.

A network of two axes learns from planes: the frames of an image, the slices of a volume.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.errors import StudyRejected
from pipeline.models import networks, sliding
from pipeline.models.grids import Grid
from pipeline.models.planes import PlaneWise
from pipeline.models.spec import InputSpec
from pipeline.reasons import Reason
from pipeline.training import augmentation, data, patches
from pipeline.training.data import Draw, Prepared
from pipeline.training.reading import Truth
from pipeline.training.recipe import Recipe
from pipeline.volume import Input


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """What a segmentation adds to the training loop."""

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
        """Yield images (B, channels, *size) float32 and masks (B, 1, *size) int64."""
        drawn = data.draws(self.recipe, len(self.prepared.training), epoch)
        for batch in data.in_batches(drawn, self.recipe.batch, first):
            images, masks = zip(*(self._patch(draw) for draw in batch), strict=True)
            yield torch.stack(images).to(self.device), torch.stack(masks).to(self.device)

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return Dice loss plus cross-entropy (MONAI's DiceCELoss), background left out of Dice."""
        from monai.losses.dice import DiceCELoss

        images, masks = batch
        measure = DiceCELoss(
            include_background=False, to_onehot_y=True, softmax=True, batch=True, smooth_nr=0.0
        )
        loss: Tensor = measure(network(images), masks)
        return loss

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
        mask, marked, random = arrays["mask"], arrays["marked"], draw.random
        centre = None
        if len(marked) and random.random() < self.recipe.foreground:
            voxel = int(marked[int(random.integers(len(marked)))])
            centre = [float(index) for index in np.unravel_index(voxel, mask.shape)]
        size = patches.window(self.recipe.input)
        start = data.patch_start(mask.shape, size, centre, random)
        axes = patches.mirrored(self.recipe, random)
        patch = np.flip(patches.cut(arrays["image"], start, size), axes)
        truth = np.flip(data.cut(mask, start, size), axes).astype(np.int64)
        varied = augmentation.vary(patch, self.recipe.augmentation, random)
        flat = self.recipe.input.size
        return varied.reshape(-1, *flat), torch.from_numpy(truth).reshape(1, *flat)


def preparation(recipe: Recipe) -> data.Preparation:
    """Return what turns an image and its mask into arrays on the network's grid."""
    spec = InputSpec(**recipe.input.model_dump())

    def arrays(image: Input, truth: Truth) -> Mapping[str, NDArray[Any]]:
        if truth.mask is None:
            raise StudyRejected("a segmentation is trained on masks", Reason.PIXELS_UNSUPPORTED)
        prepared, grid = patches.prepared(image, spec)
        mask = truth.mask if grid is None else mask_on(truth.mask, grid)
        return {
            "image": prepared.numpy(),
            "mask": mask,
            # where patches may be centred; flat indices
            "marked": np.flatnonzero(mask).astype(np.int64),
        }

    return arrays


def mask_on(mask: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
    """Take a mask from the grid of its volume to the network's: the nearest voxel counts."""
    for axis in range(3):
        nearest = np.rint(grid.positions(axis)).astype(np.int64)
        mask = np.take(mask, nearest, axis=grid.axes[axis])
    return np.ascontiguousarray(mask.transpose(grid.axes))
