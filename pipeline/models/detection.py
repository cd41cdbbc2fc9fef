"""Boxes in volumes by a RetinaNet over overlapping windows, stated on the source grid and in mm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data.box_utils import batched_nms
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.models import checks, preprocess, retinanet, sliding
from pipeline.models.devices import Device
from pipeline.models.options import DetectionOptions
from pipeline.models.predictor import Checkpoint
from pipeline.models.preprocess import Grid, Prepared
from pipeline.models.segmentation import Laps, plan_windows, used_options
from pipeline.models.spec import ModelSpec
from pipeline.models.tuned import choice_for
from pipeline.results import Detection, Prediction
from pipeline.volume import Input, Volume


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """Boxes on the network's grid: edges, so that voxel ``k`` spans ``k`` to ``k + 1``."""

    #: (n, 6): three first edges, then three last ones
    edges: Tensor
    scores: Tensor
    numbers: Tensor


@dataclass(frozen=True, kw_only=True)
class _Seen:
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
        volume = checks.volume(image, self.spec)
        self._device.enter_thread()
        clock = Laps()
        prepared = preprocess.prepare(volume, self.spec.input)
        clock.lap("preprocess")
        with self._device.hold(checkpoint):
            clock.lap("wait")
            (boxes, windows), plan, warnings = sliding.step_down(
                self._plan, lambda tried: self._detect(prepared, tried, checkpoint)
            )
        clock.lap("model")
        found = self._findings(self._best(boxes), volume, prepared.grid)
        clock.lap("inverse")
        return Prediction(
            findings=found,
            options={
                **used_options(plan, windows),
                "score_threshold": self._options.score_threshold,
                "nms_iou": self._options.nms_iou,
            },
            seconds=clock.seconds,
            warnings=(*prepared.warnings, *warnings),
        )

    def _detect(
        self, prepared: Prepared, plan: sliding.Plan, checkpoint: Checkpoint
    ) -> tuple[Boxes, int]:
        """Return all boxes above the threshold, on the kept grid, and the number of windows."""
        detector = self._detector(sliding.on(self._network, plan, self._plan))
        padded, inside = sliding.pad(prepared.image.to(plan.device)[None], plan.size)
        windows = sliding.lay(padded.shape[1:], plan.size, plan.overlap)
        seen = _Seen(
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

    def _findings(self, boxes: Boxes, volume: Volume, grid: Grid) -> tuple[Detection, ...]:
        by_number = {label.number: label for label in self.spec.labels}
        found = []
        for edges, score, number in zip(
            boxes.edges.numpy().astype(np.float64), boxes.scores, boxes.numbers, strict=True
        ):
            low, high = to_source(edges, grid)
            centre = volume.to_patient((low + high) / 2 - 0.5)
            size = (high - low) * np.asarray(volume.spacing)
            label = by_number[int(number)]
            found.append(
                Detection(
                    label=label.name,
                    score=float(score),
                    index_box=(*_three(low), *_three(high)),
                    centre=_three(centre),
                    size=_three(size),
                    code=label.code,
                )
            )
        return tuple(sorted(found, key=lambda one: (-one.score, one.index_box)))


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


def _in_window(answer: dict[str, Tensor], window: sliding.Window, seen: _Seen) -> Boxes:
    """Move a window's boxes to the kept grid; drop those whose centre a neighbour sees better.

    A box is left to the neighbour where its centre lies in the outer half of an overlap. The inner
    halves of all windows cover the image, so every box keeps one window.
    """
    edges = answer["boxes"].float().cpu()
    start = torch.tensor([part.start for part in window], dtype=torch.float32)
    centres = (edges[:, :3] + edges[:, 3:]) / 2 + start
    kept = torch.ones(len(edges), dtype=torch.bool)
    for axis, part in enumerate(window):
        margin = (part.stop - part.start) * seen.overlap / 2
        if part.start > 0:
            kept &= centres[:, axis] >= part.start + margin
        if part.stop < seen.shape[axis]:
            kept &= centres[:, axis] < part.stop - margin
    moved = edges + (start - seen.shift).repeat(2)
    return Boxes(
        edges=moved[kept],
        scores=answer["labels_scores"].float().cpu()[kept],
        numbers=answer["labels"].cpu()[kept],
    )


def _join(found: list[Boxes]) -> Boxes:
    return Boxes(
        edges=torch.cat([boxes.edges for boxes in found]),
        scores=torch.cat([boxes.scores for boxes in found]),
        numbers=torch.cat([boxes.numbers for boxes in found]),
    )


def _three(values: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
