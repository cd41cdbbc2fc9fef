"""Images without their labels, drawn and changed as the kinds draw and change them.

What learns from images alone (pretraining, a teacher) sees the training part and the cases
without a label, never the validation part or the held-out one. As everywhere, what is drawn is a
pure function of (seed, epoch, place in the epoch).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.training import augmentation, data, patches, ranks
from pipeline.training.recipe import Recipe

#: keeps these draws apart from those of labelled cases (``data.draws``)
_STREAM: Final = 3
Chosen = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Views:
    """The images that a recipe may learn from without their labels."""

    recipe: Recipe
    places: Sequence[Path]
    device: torch.device

    def in_batches(self, epoch: int, size: int) -> list[Chosen]:
        """Return the images of each batch of an epoch; each comes once, in batches of one size.

        What is left over is spread over the batches: none is smaller than ``size``, if there are
        so many images at all.
        """
        whole = np.random.default_rng((self.recipe.seed, epoch, _STREAM))
        order = whole.permutation(len(self.places))
        return np.array_split(order, max(1, len(order) // size))

    def random(self, epoch: int, batch: int) -> np.random.Generator:
        """Return what decides all that is random in a batch, in this process."""
        return np.random.default_rng((self.recipe.seed, epoch, _STREAM, batch, ranks.number()))

    def some(self, size: int, random: np.random.Generator) -> Chosen:
        """Choose images, each at most once."""
        return random.choice(len(self.places), min(size, len(self.places)), replace=False)

    def single(self, chosen: Chosen, random: np.random.Generator) -> Tensor:
        """Return a view of each image of this process's share: float32 (B, channels, *size)."""
        views = []
        for number in ranks.share(chosen.tolist()):
            image = self._image(number)
            moved = self._moved(image, self._start(image, random), random)
            views.append(self._varied(moved, random))
        return self._stacked(views)

    def pairs(
        self, chosen: Chosen, random: np.random.Generator, *, is_aligned: bool
    ) -> tuple[Tensor, Tensor]:
        """Return two views of each image of this process's share: (B, channels, *size), twice.

        Args:
            chosen: numbers of images.
            random: what decides.
            is_aligned: whether each voxel shows the same place in both views, so that they differ
                in their values only.

        """
        first, second = [], []
        for number in ranks.share(chosen.tolist()):
            image = self._image(number)
            start = self._start(image, random)
            one = self._moved(image, start, random)
            other = one if is_aligned else self._moved(image, start, random)
            first.append(self._varied(one, random))
            second.append(self._varied(other, random))
        return self._stacked(first), self._stacked(second)

    def _image(self, number: int) -> NDArray[np.float32]:
        return np.asarray(data.load(self.places[number])["image"])

    def _start(
        self, image: NDArray[np.float32], random: np.random.Generator
    ) -> tuple[int, ...] | None:
        """Choose where a patch begins; None = the image as a whole."""
        if self.recipe.kind == "classification":
            return None
        return data.patch_start(image.shape[1:], patches.window(self.recipe.input), None, random)

    def _moved(
        self,
        image: NDArray[np.float32],
        start: tuple[int, ...] | None,
        random: np.random.Generator,
    ) -> NDArray[np.float32]:
        """Return a patch (channels, *size), mirrored and warped."""
        stated = self.recipe.input
        warp = augmentation.warp(stated.size, self.recipe.augmentation, random)
        if start is not None:
            image = patches.cut(image, start, patches.window(stated), warp)
        mirrored = patches.pose(self.recipe, random).of(image)
        moved = mirrored if warp is None else warp.image(mirrored)
        return moved.reshape(-1, *stated.size)

    def _varied(self, patch: NDArray[np.float32], random: np.random.Generator) -> Tensor:
        return augmentation.vary(patch, self.recipe.augmentation, random)

    def _stacked(self, views: Sequence[Tensor]) -> Tensor:
        return torch.stack([*views]).to(self.device)
