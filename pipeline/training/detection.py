"""Training a detector: patches of volumes or of single images, with their boxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.errors import StudyRejected
from pipeline.evaluation import detection as measures
from pipeline.evaluation import matching
from pipeline.evaluation.scores import Boxes
from pipeline.models import detection as finding
from pipeline.models import sliding
from pipeline.models.grids import Grid
from pipeline.models.options import DetectionOptions
from pipeline.reasons import Reason
from pipeline.training import augmentation, data, detectors, patches
from pipeline.training.boxes import Box, index_box
from pipeline.training.data import Draw, Prepared
from pipeline.training.detectors import Target
from pipeline.training.reading import Truth
from pipeline.training.recipe import Recipe
from pipeline.volume import Input, Volume

#: a box is learnt from a patch that holds its centre and at least this share of it
_LEAST_SHARE = 0.5
_LEAST_SCORE = 0.05

Batch: TypeAlias = tuple[list[Tensor], list[Target]]


@dataclass(frozen=True, kw_only=True)
class Detection:
    """What a detection adds to the training loop."""

    recipe: Recipe
    prepared: Prepared
    device: torch.device

    def network(self) -> nn.Module:
        """Return the detector, anchors and matcher included, with fresh weights."""
        return detectors.of(self.recipe).network()

    def steps(self, epoch: int) -> int:
        """Return how many batches this epoch has."""
        del epoch
        return data.batch_count(self.recipe, self.prepared.training)

    def batches(self, epoch: int, first: int) -> Iterator[Batch]:
        """Yield images, each (channels, *size), and of each its boxes and labels (``Target``)."""
        drawn = data.draws(self.recipe, self.prepared.training, epoch)
        for batch in data.in_batches(drawn, self.recipe.batch, first):
            pairs = [self._patch(draw) for draw in batch]
            yield [image for image, _ in pairs], [target for _, target in pairs]

    def loss(self, network: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Return the losses of the network, each by the weight of the recipe."""
        weights = self.recipe.loss_weights
        losses = detectors.of(self.recipe).losses(network, *batch)
        return {name: weights.get(name, 1.0) * value for name, value in losses.items()}

    def score(self, network: nn.Module) -> float | None:
        """Return the mean average precision over labels on the validation part."""
        if not self.prepared.validation:
            return None
        cases = [self._found(network, place) for place in self.prepared.validation]
        values = [
            measures.average_precision(
                [case[label] for case in cases], self.recipe.evaluation.hit_iou
            )
            for label in range(len(self.recipe.labels))
        ]
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else None

    def _found(self, network: nn.Module, place: Path) -> list[Boxes]:
        """Return detections beside the truth of one case, one entry for each label."""
        arrays, stated = data.load(place), self.recipe.input
        options = DetectionOptions.model_validate(self.recipe.options)
        options = options.model_copy(update={"score_threshold": _LEAST_SCORE})
        plan = sliding.Plan(size=stated.size, overlap=stated.overlap, batch=2, device=self.device)
        stack = torch.from_numpy(np.array(arrays["image"])).to(self.device)
        inside = detectors.of(self.recipe).answering(network)
        detector = finding.answering(inside, self.recipe.network.arguments, options)
        boxes, _ = finding.boxes_in(stack, detector, plan, lambda: None)
        best = finding.best(boxes, options)
        edges, scores, numbers = (
            values.numpy() for values in (best.edges, best.scores, best.numbers)
        )
        return [
            matching.compare(
                edges[numbers == label].astype(float),
                scores[numbers == label].astype(float),
                np.asarray(arrays["boxes"][arrays["labels"] == label], float),
            )
            for label in range(len(self.recipe.labels))
        ]

    def _patch(self, draw: Draw) -> tuple[Tensor, Target]:
        arrays = data.load(self.prepared.training[draw.case])
        wanted, random = self.recipe.augmentation, draw.random
        size = self.recipe.input.size
        boxes = flat(np.asarray(arrays["boxes"]), len(size))
        start = self._start(arrays["image"].shape[1:], boxes, random)
        pose = augmentation.pose(len(size), wanted, random)
        moved = pose.boxes(boxes - np.tile(start, 2).astype(np.float32), size)
        warp = augmentation.warp(size, wanted, random)
        planes = (0,) * (3 - len(size))
        window = (*planes, *start), patches.window(self.recipe.input)
        cut = patches.cut(arrays["image"], *window, warp)
        pixels = pose.of(cut)
        if warp is not None:
            pixels, moved = warp.image(pixels), warp.boxes(moved)
        inside, kept = boxes_in(moved, size)
        target = {
            "boxes": torch.from_numpy(inside).to(self.device),
            "labels": torch.from_numpy(np.asarray(arrays["labels"])[kept]).to(self.device),
        }
        varied = augmentation.vary(pixels.reshape(-1, *size), wanted, random)
        return varied.to(self.device), target

    def _start(
        self, shape: Sequence[int], boxes: NDArray[np.float32], random: np.random.Generator
    ) -> tuple[int, ...]:
        """Choose the first voxel of a patch, around a box by the share of the recipe."""
        size, centre = self.recipe.input.size, None
        if len(boxes) and random.random() < self.recipe.foreground:
            low, high = np.split(boxes[int(random.integers(len(boxes)))], 2)
            centre = [float(value) for value in (low + high) / 2.0]
        return data.patch_start(shape[-len(size) :], size, centre, random)


def preparation(recipe: Recipe) -> data.Preparation:
    """Return what turns an image and its boxes into arrays on the network's grid.

    ``image`` is (channels, planes, rows, columns), ``boxes`` (N, 6) on it and ``labels`` (N,).
    """
    spec = recipe.input.to_spec()
    numbers = {label.name: label.number for label in recipe.labels}

    def arrays(image: Input, truth: Truth) -> Mapping[str, NDArray[Any]]:
        values, grid = patches.prepared(image, spec)
        if truth.boxes is None or (spec.spatial_dims == 2 and values.shape[1] != 1):
            sentence = "a detector is trained on volumes or on single images, with boxes"
            raise StudyRejected(sentence, Reason.PIXELS_UNSUPPORTED)
        boxes = [
            box_on(box, image, grid)
            if isinstance(box, Box) and isinstance(image, Volume) and grid is not None
            else index_box(box, image)
            for box in truth.boxes
        ]
        return {
            "image": values.numpy(),
            "boxes": np.asarray(boxes, np.float32).reshape(-1, 6),
            "labels": np.asarray([numbers[box.label] for box in truth.boxes], np.int64),
        }

    return arrays


def box_on(box: Box, volume: Volume, grid: Grid) -> list[float]:
    """Return a box on the network's grid: lower corner, then upper; voxel i covers [i, i + 1)."""
    source = index_box(box, volume)
    low, high = [], []
    for axis in range(3):
        along = grid.axes[axis]
        ends = np.array([source[along], source[along + 3]]) - 0.5  # to centres of voxels
        if grid.flips[axis]:
            ends = grid.source_shape[along] - 1 - ends
        first, last = sorted(ends / grid.steps[axis] - grid.start[axis] + 0.5)
        low.append(float(first))
        high.append(float(last))
    return [*low, *high]


def flat(boxes: NDArray[np.float32], dims: int) -> NDArray[np.float32]:
    """Return the last ``dims`` axes of boxes (N, 6)."""
    return boxes.reshape(-1, 2, 3)[:, :, 3 - dims :].reshape(-1, 2 * dims)


def boxes_in(
    boxes: NDArray[np.float32], size: Sequence[int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the boxes of a patch, clipped to it, and which of all boxes they are."""
    dims = len(size)
    low, high = boxes[:, :dims], boxes[:, dims:]
    clipped_low = np.clip(low, 0, size)
    clipped_high = np.clip(high, 0, size)
    whole = (high - low).prod(axis=1)
    share = (clipped_high - clipped_low).prod(axis=1) / np.maximum(whole, 1e-6)
    centre = (low + high) / 2.0
    is_centred = ((centre >= 0) & (centre <= size)).all(axis=1)
    kept = is_centred & (share >= _LEAST_SHARE)
    return np.concatenate([clipped_low, clipped_high], axis=1)[kept].astype(np.float32), kept
