"""Boxes by a detector over overlapping windows, stated on the source grid and in mm.

A network of two axes looks at each frame of an image, or each slice of a volume, by itself: its
boxes are one slice thick.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from monai.data.box_utils import batched_nms
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.models import (
    checks,
    planes,
    preprocess,
    retinanet,
    sliding,
    torchvision_detection,
)
from pipeline.models.devices import Device
from pipeline.models.grids import Grid
from pipeline.models.options import DetectionOptions
from pipeline.models.predictor import Checkpoint
from pipeline.models.segmentation import Laps, plan_windows, used_options
from pipeline.models.spec import ModelSpec
from pipeline.models.tuned import choice_for
from pipeline.results import Detection, Point, Prediction
from pipeline.volume import Input, Volume

#: along (slices, rows, columns)
Corner: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """Boxes on the network's grid: edges, so that voxel ``k`` spans ``k`` to ``k + 1``."""

    #: (n, 6) or (n, 4): the first edge along each axis, then the last ones
    edges: Tensor
    scores: Tensor
    numbers: Tensor


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The padded image that windows were laid over."""

    shape: tuple[int, ...]
    #: voxels of padding before the kept grid
    shift: Tensor
    overlap: float


class DetectionPredictor:
    """Prepare, find boxes window by window, keep the best of those that overlap."""

    def __init__(self, spec: ModelSpec, network: nn.Module, device: Device) -> None:
        self.spec = spec
        self._options = DetectionOptions.model_validate(dict(spec.options))
        self._device = device
        self._plan = plan_windows(spec, choice_for(spec, device), device)
        self._network = network.to(device.torch, self._plan.dtype)

    def predict(self, image: Input, *, checkpoint: Checkpoint) -> Prediction:
        """Answer with boxes, the most certain first. See ``Predictor.predict``."""
        self._device.enter_thread()
        clock = Laps()
        stack, place, warnings = self._prepare(image)
        clock.lap("preprocess")
        with self._device.hold(checkpoint):
            clock.lap("wait")
            (boxes, windows), plan, stepped = sliding.step_down(
                self._plan, lambda tried: self._detect(stack, tried, checkpoint)
            )
        clock.lap("model")
        found = self._findings(self._best(boxes), place)
        clock.lap("inverse")
        return Prediction(
            findings=found,
            options={
                **used_options(plan, windows),
                "score_threshold": self._options.score_threshold,
                "nms_iou": self._options.nms_iou,
            },
            seconds=clock.seconds,
            warnings=(*warnings, *stepped),
        )

    def _prepare(self, image: Input) -> tuple[Tensor, _Place, tuple[str, ...]]:
        """Return what the network sees, (channels, slices, rows, columns), and where it lies."""
        if isinstance(image, Volume) or self.spec.input.spatial_dims == 3:
            volume = checks.volume(image, self.spec)
            prepared = preprocess.prepare(volume, self.spec.input)
            return prepared.image[None], _InVolume(volume, prepared.grid), prepared.warnings
        picture = checks.picture(image, self.spec)
        stack = planes.frames(picture, self.spec.input)[0]
        return stack, _InImage(tuple(stack.shape[1:])), ()

    def _detect(
        self, stack: Tensor, plan: sliding.Plan, checkpoint: Checkpoint
    ) -> tuple[Boxes, int]:
        """Return all boxes above the threshold, on the stack's grid, and the number of windows."""
        detector = self._detector(sliding.on(self._network, plan, self._plan))
        stack = stack.to(plan.device)
        if len(plan.size) == 3:
            return self._sweep(stack, detector, plan, checkpoint)
        found, windows = [], 0
        for number in range(stack.shape[1]):
            boxes, more = self._sweep(stack[:, number], detector, plan, checkpoint)
            found.append(_on_plane(boxes, number))
            windows += more
        return _join(found), windows

    def _sweep(
        self, image: Tensor, detector: Any, plan: sliding.Plan, checkpoint: Checkpoint
    ) -> tuple[Boxes, int]:
        padded, inside = sliding.pad(image, plan.size)
        windows = sliding.lay(padded.shape[1:], plan.size, plan.overlap)
        seen = Seen(
            shape=tuple(padded.shape[1:]),
            shift=torch.tensor([part.start for part in inside], dtype=torch.float32),
            overlap=plan.overlap,
        )
        found = []
        for group, pixels in sliding.batches(padded, windows, plan):
            checkpoint()
            for window, answer in zip(group, detector(pixels), strict=False):  # the last repeats
                found.append(_in_window(answer, window, seen))
        return _join(found), len(windows)

    def _detector(self, network: nn.Module) -> Any:
        if torchvision_detection.is_one(network):
            return torchvision_detection.Detector(network, self._options)
        arguments = self.spec.network_arguments
        built = retinanet.detector(
            network,
            levels=len(arguments.get("features", retinanet.DEFAULT_FEATURES)),
            anchor_shapes=arguments.get("anchor_shapes"),
        )
        built.set_box_selector_parameters(
            score_thresh=self._options.score_threshold,
            topk_candidates_per_level=1000,
            nms_thresh=self._options.nms_iou,
            detections_per_img=self._options.maximum,
        )
        return built.eval()

    def _best(self, boxes: Boxes) -> Boxes:
        """Of boxes with the same label that overlap, keep the most certain."""
        if len(boxes.scores) == 0:
            return boxes
        kept = batched_nms(boxes.edges, boxes.scores, boxes.numbers, self._options.nms_iou)
        kept = kept[: self._options.maximum]
        return Boxes(
            edges=boxes.edges[kept], scores=boxes.scores[kept], numbers=boxes.numbers[kept]
        )

    def _findings(self, boxes: Boxes, place: _Place) -> tuple[Detection, ...]:
        by_number = {label.number: label for label in self.spec.labels}
        found = []
        for edges, score, number in zip(
            boxes.edges.numpy().astype(np.float64), boxes.scores, boxes.numbers, strict=True
        ):
            label = by_number[int(number)]
            low, high, centre, size = place.state(edges)
            found.append(
                Detection(
                    label=label.name,
                    score=float(score),
                    index_box=(*_three(low), *_three(high)),
                    centre=centre,
                    size=size,
                    code=label.code,
                )
            )
        return tuple(sorted(found, key=lambda one: (-one.score, one.index_box)))


#: both corners as (slice, row, column), and middle and extent in mm where there is a patient
_Stated: TypeAlias = tuple[Corner, Corner, Point | None, Point | None]


@dataclass(frozen=True)
class _InVolume:
    volume: Volume
    #: the network's
    grid: Grid

    def state(self, edges: Corner) -> _Stated:
        """State a box on the network's grid in the volume."""
        low, high = to_source(edges, self.grid)
        centre = self.volume.to_patient((low + high) / 2 - 0.5)
        size = (high - low) * np.asarray(self.volume.spacing)
        return low, high, _three(centre), _three(size)


@dataclass(frozen=True)
class _InImage:
    #: (frames, rows, columns)
    shape: tuple[int, ...]

    def state(self, edges: Corner) -> _Stated:
        """State a box on the frames of an image, which has no place in the patient."""
        low, high = (np.clip(ends, 0, self.shape) for ends in (edges[:3], edges[3:]))
        return low, high, None, None


_Place: TypeAlias = _InVolume | _InImage


def to_source(
    edges: NDArray[np.float64], grid: Grid
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Map a box (6,) on the kept grid to the volume's (slice, row, column) edges, low and high.

    The grids agree in the centres of their first voxels, not in their edges, hence the halves.
    """
    low, high = np.zeros(3), np.zeros(3)
    for axis, source in enumerate(grid.axes):
        ends = grid.to_source(axis, edges[[axis, axis + 3]] - 0.5) + 0.5
        count = grid.source_shape[source]
        low[source], high[source] = np.clip(np.sort(ends), 0, count)
    return low, high


def _in_window(answer: dict[str, Tensor], window: sliding.Window, seen: Seen) -> Boxes:
    """Move a window's boxes to the kept grid; drop those whose centre a neighbour sees better."""
    edges = answer["boxes"].float().cpu()
    start = torch.tensor([part.start for part in window], dtype=torch.float32)
    kept = belongs(edges, window, seen)
    moved = edges + (start - seen.shift).repeat(2)
    return Boxes(
        edges=moved[kept],
        scores=answer["labels_scores"].float().cpu()[kept],
        numbers=answer["labels"].cpu()[kept],
    )


def belongs(edges: Tensor, window: sliding.Window, seen: Seen) -> Tensor:
    """Return which boxes of a window are its own: no neighbour sees their centres better.

    A box is left to the neighbour where its centre lies in the outer half of an overlap. The inner
    halves of all windows cover the image, so every box keeps one window.
    """
    start = torch.tensor([part.start for part in window], dtype=torch.float32)
    first, last = edges.chunk(2, dim=1)
    centres = (first + last) / 2 + start
    kept = torch.ones(len(edges), dtype=torch.bool)
    for axis, part in enumerate(window):
        margin = (part.stop - part.start) * seen.overlap / 2
        if part.start > 0:
            kept &= centres[:, axis] >= part.start + margin
        if part.stop < seen.shape[axis]:
            kept &= centres[:, axis] < part.stop - margin
    return kept


def _on_plane(boxes: Boxes, number: int) -> Boxes:
    """Give boxes of two axes the thickness of their plane, as the first axis."""
    first, last = boxes.edges.chunk(2, dim=1)
    low = torch.full((len(first), 1), float(number))
    return replace(boxes, edges=torch.cat([low, first, low + 1, last], dim=1))


def _join(found: list[Boxes]) -> Boxes:
    return Boxes(
        edges=torch.cat([boxes.edges for boxes in found]),
        scores=torch.cat([boxes.scores for boxes in found]),
        numbers=torch.cat([boxes.numbers for boxes in found]),
    )


def _three(values: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
