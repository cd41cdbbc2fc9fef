"""Training a detector: patches of volumes with boxes, the losses of RetinaNet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.errors import StudyRejected
from pipeline.evaluation import detection as measures
from pipeline.evaluation import matching
from pipeline.evaluation.scores import Boxes
from pipeline.models import retinanet
from pipeline.models.grids import Grid
from pipeline.models.preprocess import prepare
from pipeline.models.spec import InputSpec
from pipeline.reasons import Reason
from pipeline.training import augmentation, data
from pipeline.training.boxes import Box, index_box
from pipeline.training.data import Draw, Prepared
from pipeline.training.fields import HIT_IOU
from pipeline.training.reading import Truth
from pipeline.training.recipe import Recipe
from pipeline.volume import Input, Volume

#: a box is learnt from a patch that holds its centre and at least this share of it
_LEAST_SHARE = 0.5
_LEAST_SCORE = 0.05

Batch = tuple[list[Tensor], list[dict[str, Tensor]]]


@dataclass(frozen=True, kw_only=True)
class Detection:
    """What a detection adds to the training loop."""

    recipe: Recipe
    prepared: Prepared
    device: torch.device

    def network(self) -> nn.Module:
        """Return the detector, anchors and matcher included, with fresh weights."""
        arguments = dict(self.recipe.network.arguments)
        dims, labels = arguments.pop("spatial_dims"), arguments.pop("num_classes")
        built = retinanet.build(dims, labels, **arguments)
        # Negatives are drawn from this many times as many of the hardest. From a small pool all
        # lie beside a box at first, and nothing is learnt but their share: 0.7 for 8 epochs on
        # nodules with a pool of 20, 0.13 with 200.
        built.set_hard_negative_sampler(
            batch_size_per_image=64, positive_fraction=0.3, pool_size=200, min_neg=16
        )
        network: nn.Module = built
        return network

    def steps(self, epoch: int) -> int:
        """Return how many batches this epoch has."""
        del epoch
        return data.batch_count(self.recipe, len(self.prepared.training))

    def batches(self, epoch: int, first: int) -> Iterator[Batch]:
        """Yield images, each (1, *size), and targets: boxes (N, 6) in voxels, labels (N,)."""
        drawn = data.draws(self.recipe, len(self.prepared.training), epoch)
        for batch in data.in_batches(drawn, self.recipe.batch, first):
            pairs = [self._patch(draw) for draw in batch]
            yield [image for image, _ in pairs], [target for _, target in pairs]

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the classification loss plus the box loss."""
        images, targets = batch
        losses: dict[str, Tensor] = network(images, targets)
        return torch.stack(list(losses.values())).sum()

    def score(self, network: nn.Module) -> float | None:
        """Return the mean average precision over labels on the validation part."""
        if not self.prepared.validation:
            return None
        self._set_up_inference(network)
        cases = [self._found(network, place) for place in self.prepared.validation]
        values = [
            measures.average_precision([case[label] for case in cases], HIT_IOU)
            for label in range(len(self.recipe.labels))
        ]
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else None

    def _set_up_inference(self, detector: Any) -> None:
        size = self.recipe.input.size
        detector.set_box_selector_parameters(score_thresh=_LEAST_SCORE, nms_thresh=0.2)
        detector.set_sliding_window_inferer(
            roi_size=size, sw_batch_size=2, overlap=self.recipe.input.overlap, mode="gaussian"
        )

    def _found(self, detector: nn.Module, place: Any) -> list[Boxes]:
        """Return detections beside the truth of one case, one entry for each label."""
        arrays = data.load(place)
        image = torch.from_numpy(np.array(arrays["image"]))[None].to(self.device)
        answer = detector([image], use_inferer=True)[0]
        boxes = answer["boxes"].cpu().numpy().astype(float)
        scores, labels = (answer[key].cpu().numpy() for key in ("labels_scores", "labels"))
        return [
            matching.compare(
                boxes[labels == label].reshape(-1, 6),
                scores[labels == label].astype(float),
                np.asarray(arrays["boxes"][arrays["labels"] == label], float),
            )
            for label in range(len(self.recipe.labels))
        ]

    def _patch(self, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        arrays = data.load(self.prepared.training[draw.case])
        image, boxes, labels = arrays["image"], arrays["boxes"], arrays["labels"]
        size, random = self.recipe.input.size, draw.random
        centre = None
        if len(boxes) and random.random() < self.recipe.foreground:
            box = boxes[int(random.integers(len(boxes)))]
            centre = [float(value) for value in (box[:3] + box[3:]) / 2.0]
        start = data.patch_start(image.shape, size, centre, random)
        axes = augmentation.flipped_axes(len(size), self.recipe.augmentation, random)
        inside, kept = boxes_in(np.asarray(boxes), start, size)
        pixels = np.flip(data.cut(image, start, size), axes)
        target = {
            "boxes": torch.from_numpy(flip_boxes(inside, size, axes)).to(self.device),
            "labels": torch.from_numpy(np.asarray(labels)[kept]).to(self.device),
        }
        varied = augmentation.vary(pixels[None], self.recipe.augmentation, random)
        return varied.to(self.device), target


def preparation(recipe: Recipe) -> data.Preparation:
    """Return what turns a volume and its boxes into arrays on the network's grid."""
    spec = InputSpec(**recipe.input.model_dump())
    numbers = {label.name: label.number for label in recipe.labels}

    def arrays(image: Input, truth: Truth) -> Mapping[str, NDArray[Any]]:
        if not isinstance(image, Volume) or truth.boxes is None:
            raise StudyRejected("a detector is trained on volumes", Reason.PIXELS_UNSUPPORTED)
        prepared = prepare(image, spec)
        boxes = [box_on(box, image, prepared.grid) for box in truth.boxes]
        return {
            "image": prepared.image.numpy(),
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


def boxes_in(
    boxes: NDArray[np.float32], start: Sequence[int], size: Sequence[int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the boxes of a patch, moved and clipped to it, and which of all boxes they are."""
    dims = len(size)
    offset = np.asarray(start, np.float32)
    low, high = boxes[:, :dims] - offset, boxes[:, dims:] - offset
    clipped_low = np.clip(low, 0, size)
    clipped_high = np.clip(high, 0, size)
    whole = (high - low).prod(axis=1)
    share = (clipped_high - clipped_low).prod(axis=1) / np.maximum(whole, 1e-6)
    centre = (low + high) / 2.0
    is_centred = ((centre >= 0) & (centre <= size)).all(axis=1)
    kept = is_centred & (share >= _LEAST_SHARE)
    return np.concatenate([clipped_low, clipped_high], axis=1)[kept].astype(np.float32), kept


def flip_boxes(
    boxes: NDArray[np.float32], size: Sequence[int], axes: Sequence[int]
) -> NDArray[np.float32]:
    """Mirror boxes with their patch."""
    dims, mirrored = len(size), boxes.copy()
    for axis in axes:
        mirrored[:, axis] = size[axis] - boxes[:, axis + dims]
        mirrored[:, axis + dims] = size[axis] - boxes[:, axis]
    return mirrored


def bundle_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the part of a detector's state that a bundle stores: the network's."""
    prefix = "network."
    return {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }
