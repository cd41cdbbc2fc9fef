"""Boxes by a detector over overlapping windows, stated on the source grid and in mm.

A network of two axes looks at each frame of an image, or each slice of a volume, by itself: its
boxes are one slice thick.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from monai.data.box_utils import batched_nms
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.models import retinanet, sliding, torchvision_detection
from pipeline.models.devices import Device
from pipeline.models.grids import Grid
from pipeline.models.options import DetectionOptions
from pipeline.models.predictor import Checkpoint
from pipeline.models.search import Search, Seen, belongs, sweep
from pipeline.models.spec import ModelSpec
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


class DetectionPredictor:
    """Prepare, find boxes window by window, keep the best of those that overlap."""

    def __init__(self, spec: ModelSpec, network: nn.Module, device: Device) -> None:
        self.spec = spec
        self._options = DetectionOptions.model_validate(dict(spec.options))
        self._search = Search(spec, network, device)

    def predict(self, image: Input, *, checkpoint: Checkpoint) -> Prediction:
        """Answer with boxes, the most certain first. See ``Predictor.predict``."""

        def find(stack: Tensor, network: nn.Module, plan: sliding.Plan) -> tuple[Boxes, int]:
            detector = answering(network, self.spec.network_arguments, self._options)
            return boxes_in(stack, detector, plan, checkpoint)

        searched = self._search.over(image, find, checkpoint)
        place: _Place = _InImage(searched.shape)
        if isinstance(image, Volume) and searched.grid is not None:
            place = _InVolume(image, searched.grid)
        findings = self._findings(best(searched.found, self._options), place)
        searched.clock.lap("inverse")
        return Prediction(
            findings=findings,
            options={
                **searched.options,
                "score_threshold": self._options.score_threshold,
                "nms_iou": self._options.nms_iou,
            },
            seconds=searched.clock.seconds,
            warnings=searched.warnings,
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


def answering(
    network: nn.Module, arguments: Mapping[str, Any], options: DetectionOptions
) -> Callable[[Tensor], Any]:
    """Return what finds the boxes of windows by a network, with the thresholds of a bundle.

    It answers for each of (windows, channels, *size) with ``boxes`` (n, 2 * dims) in edges of
    voxels, first ones, then last ones; ``labels`` (n,) from 0, and ``labels_scores`` (n,).
    """
    if torchvision_detection.is_one(network):
        return torchvision_detection.Detector(network, options)
    detector = retinanet.detector(network, retinanet.Layout.of(arguments))
    detector.set_box_selector_parameters(
        score_thresh=options.score_threshold,
        topk_candidates_per_level=1000,
        nms_thresh=options.nms_iou,
        detections_per_img=options.maximum,
    )
    return detector.eval()


def boxes_in(
    stack: Tensor,
    detector: Callable[[Tensor], Any],
    plan: sliding.Plan,
    checkpoint: Checkpoint,
) -> tuple[Boxes, int]:
    """Find boxes window by window.

    Args:
        stack: (channels, planes, rows, columns); a plan of two axes takes each plane by itself.
        detector: see ``answering``.
        plan: how windows are run.
        checkpoint: called between batches.

    Returns:
        All boxes above the threshold, on the grid of the stack, and the number of windows. Those of
        neighbouring windows may still overlap: see ``best``.

    """
    if len(plan.size) == 3:
        return _sweep(stack, detector, plan, checkpoint)
    found, windows = [], 0
    for number in range(stack.shape[1]):
        boxes, more = _sweep(stack[:, number], detector, plan, checkpoint)
        found.append(_on_plane(boxes, number))
        windows += more
    return _join(found), windows


def best(boxes: Boxes, options: DetectionOptions) -> Boxes:
    """Of boxes with the same label that overlap, keep the most certain."""
    if len(boxes.scores) == 0:
        return boxes
    kept = batched_nms(boxes.edges, boxes.scores, boxes.numbers, options.nms_iou)
    kept = kept[: options.maximum]
    return Boxes(edges=boxes.edges[kept], scores=boxes.scores[kept], numbers=boxes.numbers[kept])


def _sweep(
    image: Tensor,
    detector: Callable[[Tensor], Any],
    plan: sliding.Plan,
    checkpoint: Checkpoint,
) -> tuple[Boxes, int]:
    found = [
        _in_window(answer, window, seen)
        for window, seen, answer in sweep(image, detector, plan, checkpoint)
    ]
    return _join(found), len(found)


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
