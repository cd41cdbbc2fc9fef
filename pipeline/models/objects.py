"""Objects found one by one, each with its own mask: Mask R-CNN over windows of frames or slices.

He et al., "Mask R-CNN", ICCV 2017. An object lies on one frame or slice. Where two overlap, a pixel
belongs to the more certain one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.models import sliding
from pipeline.models.devices import Device
from pipeline.models.grids import Grid
from pipeline.models.instances import Objects, stated
from pipeline.models.options import SegmentationOptions
from pipeline.models.predictor import Checkpoint
from pipeline.models.search import Answer, Search, Seen, belongs, sweep
from pipeline.models.spec import ModelSpec
from pipeline.results import Prediction
from pipeline.volume import Input

#: of a soft mask, as torchvision's own examples have it
_INSIDE: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class FoundObject:
    """One object on a plane of the network's grid."""

    score: float
    label: int
    plane: int
    #: of the stack's rows and columns
    place: tuple[slice, slice]
    mask: NDArray[np.bool_]


class ObjectsPredictor:
    """Prepare, find objects window by window, paint the most certain first, measure.

    Answers as ``InstancesPredictor`` does: numbers in the label map, the largest object first.
    """

    def __init__(self, spec: ModelSpec, network: nn.Module, device: Device) -> None:
        self.spec = spec
        self._options = SegmentationOptions.model_validate(dict(spec.options))
        chooses: Any = network.roi_heads
        chooses.score_thresh = self._options.score_threshold
        self._search = Search(spec, network, device)

    def predict(self, image: Input, *, checkpoint: Checkpoint) -> Prediction:
        """Answer with objects. See ``Predictor.predict``."""
        searched = self._search.over(
            image,
            lambda stack, network, plan: objects_in(stack, network, plan, checkpoint),
            checkpoint,
        )
        objects = painted(
            searched.found,
            searched.shape,
            searched.grid,
            least=self._options.minimum_voxels,
        )
        searched.clock.lap("inverse")
        whole = Prediction(
            findings=(),
            options={**searched.options, "score_threshold": self._options.score_threshold},
            seconds=searched.clock.seconds,
            warnings=searched.warnings,
        )
        return stated(objects, whole, image, self.spec.labels)


def objects_in(
    stack: Tensor, network: nn.Module, plan: sliding.Plan, checkpoint: Checkpoint
) -> tuple[list[FoundObject], int]:
    """Find the objects of each plane of (channels, planes, rows, columns), window by window.

    Returns: the objects above the network's threshold, and the number of windows.
    """

    def answering(windows: Tensor) -> Any:
        return network(list(windows))

    found: list[FoundObject] = []
    count = 0
    for number in range(stack.shape[1]):
        place = (number, *stack.shape[2:])
        for window, seen, answer in sweep(stack[:, number], answering, plan, checkpoint):
            found += _in_window(answer, window, seen, place)
            count += 1
    return found, count


def painted(
    found: Sequence[FoundObject], shape: tuple[int, ...], grid: Grid | None, *, least: int = 1
) -> Objects:
    """Number objects by size, where several lie the most certain, on the grid of the source.

    Args:
        found: on the planes of the network's grid.
        shape: of that grid, (planes, rows, columns).
        grid: from which the way leads back; None where the network saw the source as it is.
        least: objects of fewer voxels are left out.

    """
    canvas = np.zeros(shape, np.int64)
    ordered = sorted(found, key=lambda one: -one.score)
    for number, one in enumerate(ordered, start=1):
        target = canvas[one.plane][one.place]
        target[one.mask & (target == 0)] = number
    canvas = canvas if grid is None else _to_source(canvas, grid)
    counts = np.bincount(canvas.ravel(), minlength=len(ordered) + 1)
    counts[0] = 0
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] >= least]
    renumbered = np.zeros(len(counts), np.int64)
    renumbered[order] = np.arange(1, len(order) + 1)
    return Objects(
        numbers=renumbered[canvas],
        of_label=[ordered[place - 1].label for place in order],
        scores=[ordered[place - 1].score for place in order],
    )


def _in_window(
    answer: Answer, window: sliding.Window, seen: Seen, plane: tuple[int, int, int]
) -> list[FoundObject]:
    """Return the objects of a window on the rows and columns of a plane (number, rows, columns)."""
    edges = answer["boxes"][:, [1, 0, 3, 2]].float().cpu()
    first = [part.start - int(shift) for part, shift in zip(window, seen.shift, strict=True)]
    # what of the window lies on the plane
    place = tuple(
        slice(max(start, 0), min(start + part.stop - part.start, length))
        for start, part, length in zip(first, window, plane[1:], strict=True)
    )
    cut = tuple(
        slice(part.start - start, part.stop - start)
        for part, start in zip(place, first, strict=True)
    )
    found = []
    for number in belongs(edges, window, seen).nonzero()[:, 0].tolist():
        mask = answer["masks"][number, 0].float().cpu().numpy()[cut] >= _INSIDE
        found.append(
            FoundObject(
                score=float(answer["scores"][number]),
                label=int(answer["labels"][number]),
                plane=plane[0],
                place=(place[0], place[1]),
                mask=mask,
            )
        )
    return found


def _to_source(numbers: NDArray[np.int64], grid: Grid) -> NDArray[np.int64]:
    """Take numbers from the kept grid to the volume's: the nearest voxel counts, 0 outside."""
    for axis in range(3):
        source = grid.axes[axis]
        nearest = np.rint(grid.from_source(axis)).astype(np.int64)
        inside = (nearest >= 0) & (nearest < grid.shape[axis])
        taken = np.take(numbers, np.where(inside, nearest, 0), axis=axis)
        shape = [1, 1, 1]
        shape[axis] = grid.source_shape[source]
        numbers = np.where(inside.reshape(shape), taken, 0)
    # axis k of the volume is the network's axis that runs along it
    return np.ascontiguousarray(numbers.transpose([grid.network_axis(k) for k in range(3)]))
