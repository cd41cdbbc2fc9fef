"""Training to tell objects apart, by maps in which each has its own number.

Either one by one, each with its mask (Mask R-CNN, He et al., ICCV 2017), or as a segmentation with
a label for the border between objects that touch, by which ``pipeline.models.instances`` parts them
(Chen et al., "DCAN", CVPR 2016; Caicedo et al., Nature Methods 2019).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from pipeline.errors import StudyRejected
from pipeline.evaluation import detection as measures
from pipeline.evaluation import matching, overlap
from pipeline.evaluation.scores import Boxes, Overlap
from pipeline.models import objects as finding
from pipeline.models import sliding
from pipeline.reasons import Reason
from pipeline.results import Detection as Found
from pipeline.results import Prediction
from pipeline.training import augmentation, data, patches, segmentation
from pipeline.training.data import Draw
from pipeline.training.detection import Detection
from pipeline.training.detectors import Target
from pipeline.training.reading import Truth
from pipeline.training.recipe import Recipe
from pipeline.volume import Input

#: voxels that lie this near to another object, along each axis, are its border
_NEAR: Final = 2
#: pixels of the least part of an object that is learnt at the edge of a patch
_LEAST_PIXELS: Final = 4
_LEAST_SCORE: Final = 0.05


class ObjectDetection(Detection):
    """What a Mask R-CNN adds to the training loop."""

    def score(self, network: nn.Module) -> float | None:
        """Return the average precision of objects at an IoU of 0.5 on the validation part."""
        if not self.prepared.validation:
            return None
        chooses: Any = network.roi_heads
        chooses.score_thresh = _LEAST_SCORE
        cases = [self._compared(network, place) for place in self.prepared.validation]
        return measures.average_precision(cases, 0.5)

    def _compared(self, network: nn.Module, place: Path) -> Boxes:
        arrays, stated = data.load(place), self.recipe.input
        plan = sliding.Plan(size=stated.size, overlap=stated.overlap, batch=2, device=self.device)
        stack = torch.from_numpy(np.array(arrays["image"])).to(self.device)
        found, _ = finding.objects_in(stack, network, plan, lambda: None)
        objects = finding.painted(found, tuple(stack.shape[1:]), None)
        scores = np.asarray(objects.scores, float)
        return matching.compare_objects(objects.numbers, scores, np.asarray(arrays["objects"]))

    def _patch(self, draw: Draw) -> tuple[Tensor, Target]:
        arrays = data.load(self.prepared.training[draw.case])
        wanted, random, numbers = self.recipe.augmentation, draw.random, arrays["objects"]
        size, flat = patches.window(self.recipe.input), self.recipe.input.size
        centre = None
        if int(numbers.max()) and random.random() < self.recipe.foreground:
            voxels = np.argwhere(numbers == random.integers(int(numbers.max())) + 1)
            centre = [float(place) for place in voxels.mean(axis=0)]
        start = data.patch_start(numbers.shape, size, centre, random)
        pose = patches.pose(self.recipe, random)
        warp = augmentation.warp(flat, wanted, random)
        image = pose.of(patches.cut(arrays["image"], start, size, warp))
        truth = pose.of(patches.cut(numbers[None], start, size, warp))
        if warp is not None:
            image, truth = warp.image(image), warp.mask(truth)
        varied = augmentation.vary(image, wanted, random).reshape(-1, *flat)
        found = target(truth.reshape(flat))
        return varied.to(self.device), {
            name: values.to(self.device) for name, values in found.items()
        }


def target(numbers: NDArray[np.int32]) -> dict[str, Tensor]:
    """Return boxes (N, 4), labels (N,) and masks (N, rows, columns) of the objects of a patch."""
    boxes, masks = [], []
    for index, part in enumerate(ndimage.find_objects(numbers), start=1):
        if part is None or (is_inside := numbers == index).sum() < _LEAST_PIXELS:
            continue
        boxes.append([*(side.start for side in part), *(side.stop for side in part)])
        masks.append(is_inside)
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.zeros(len(boxes), dtype=torch.int64),
        "masks": torch.from_numpy(np.array(masks, np.uint8).reshape(-1, *numbers.shape)),
    }


def preparation(recipe: Recipe) -> data.Preparation:
    """Return what turns an image and its objects into arrays on the network's grid.

    ``image`` and, for a network that finds objects, ``objects`` (planes, rows, columns); else what
    a segmentation learns from, the border a label of its own.
    """
    border = recipe.options.get("border")
    plain, spec = segmentation.preparation(recipe), recipe.input.to_spec()

    def arrays(image: Input, truth: Truth) -> Mapping[str, NDArray[Any]]:
        if truth.objects is None:
            raise StudyRejected("it is trained on maps of objects", Reason.PIXELS_UNSUPPORTED)
        if recipe.loss != "mask-rcnn":
            mask = with_border(truth.objects, None if border is None else int(border))
            return plain(image, dataclasses.replace(truth, mask=mask))
        values, grid = patches.prepared(image, spec)
        numbers = truth.objects if grid is None else segmentation.mask_on(truth.objects, grid)
        return {"image": values.numpy(), "objects": numbers}

    return arrays


def with_border(numbers: NDArray[np.int32], border: int | None) -> NDArray[np.uint8]:
    """Return a mask of objects, 1, with the label of a border where another object is near.

    Near is what lies within 2 voxels along each axis; along the first only in volumes, whose
    planes lie behind one another.
    """
    mask = (numbers > 0).astype(np.uint8)
    if border is None:
        return mask
    reach = [2 * _NEAR + 1 if extent > 1 else 1 for extent in numbers.shape]
    largest = ndimage.maximum_filter(numbers, reach)
    beyond = int(numbers.max()) + 1
    smallest = ndimage.minimum_filter(np.where(numbers == 0, beyond, numbers), reach)
    mask[(numbers > 0) & (largest != smallest)] = border
    return mask


def judged(
    truth: Truth, prediction: Prediction, image: Input, labels: int, tolerance_mm: float
) -> dict[str, tuple[Overlap | Boxes, ...]]:
    """Compare objects, all of one label: their masks together, and one by one.

    Args:
        truth: with a map of objects.
        prediction: of a model that tells objects apart.
        image: that both are of.
        labels: how many are judged; there is one.
        tolerance_mm: see ``EvaluationField.surface_tolerance_mm``.

    """
    if truth.objects is None or labels != 1:
        message = "objects are judged by a map of objects of one label"
        raise TypeError(message)
    found = prediction.label_map
    numbers = np.zeros_like(truth.objects) if found is None else found
    scores = [one.score for one in prediction.findings if isinstance(one, Found)]
    whole = overlap.compare(truth.objects > 0, numbers > 0, overlap.grid_of(image), tolerance_mm)
    apart = matching.compare_objects(numbers, np.asarray(scores, float), truth.objects)
    return {"overlaps": (whole,), "objects": (apart,)}
