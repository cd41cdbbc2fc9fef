"""Single objects out of a segmentation: each with its mask, its box and its score.

Objects are the connected components of a label. Where objects touch, a network may learn the border
between them as a label of its own: components are then made without it, and each voxel of a border
is given to the object next to it. That is the form of most networks for cells and lesions (Chen et
al., "DCAN", CVPR 2016) and asks nothing of the network itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final, Literal, Protocol

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.models import measures
from pipeline.models.options import SegmentationOptions
from pipeline.models.predictor import Checkpoint, KeepsProbabilities, Predictor
from pipeline.models.spec import Label, ModelSpec
from pipeline.results import Detection, Point, Prediction
from pipeline.volume import Input, Volume

#: what a label map of bytes can number
_MOST: Final = 255


class Segmenting(Predictor, KeepsProbabilities, Protocol):
    """A predictor of label maps with probabilities."""


class InstancesPredictor:
    """Parts what another predictor segments into objects, numbered from 1, the largest first.

    The label map holds the numbers; of each there is a ``Segment`` and, with the same label, a
    ``Detection`` whose score is the mean probability of its label in its mask.
    """

    def __init__(self, segmenting: Segmenting) -> None:
        self.spec: ModelSpec = segmenting.spec
        self._options = SegmentationOptions.model_validate(dict(self.spec.options))
        self._segmenting = segmenting

    def predict(self, image: Input, *, checkpoint: Checkpoint) -> Prediction:
        """Answer with objects. See ``Predictor.predict``."""
        whole = self._segmenting.predict_with_probabilities(image, checkpoint=checkpoint)
        if whole.label_map is None:
            return whole
        checkpoint()
        numbers, of_label = self._objects(whole.label_map, image)
        likely = {one.segment: one.values for one in whole.maps}
        parts = zip(ndimage.find_objects(numbers), of_label, strict=True)
        scores = [
            float(likely[label][part][numbers[part] == number].mean())
            for number, (part, label) in enumerate(parts, start=1)
        ]
        objects = Objects(numbers=numbers, of_label=of_label, scores=scores)
        return stated(objects, whole, image, self.spec.labels)

    def _objects(
        self, label_map: NDArray[np.uint8], image: Input
    ) -> tuple[NDArray[np.int64], list[int]]:
        """Return the number of the object of each voxel, 0 for none, and the label of each object.

        Frames of an image do not touch.
        """
        border = self._options.border
        inner = label_map if border is None else np.where(label_map == border, 0, label_map)
        found = _components(inner) if isinstance(image, Volume) else _by_frame(inner)
        counts = np.bincount(found.ravel())
        counts[0] = 0
        order = np.argsort(-counts, kind="stable")
        order = order[counts[order] >= self._options.minimum_voxels]
        renumbered = np.zeros(len(counts), np.int64)
        renumbered[order] = np.arange(1, len(order) + 1)
        label_of = np.zeros(len(counts), np.int64)
        label_of[found.ravel()] = inner.ravel()
        of_label = label_of[order].tolist()
        found = renumbered[found]
        if border is not None and len(order):
            _give(found, label_map == border, image)
        return found, of_label


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objects:
    """Single objects on the grid of an input."""

    #: (slices or frames, rows, columns): from 1, the largest first, 0 for none
    numbers: NDArray[np.int64]
    #: the number of the label of each
    of_label: Sequence[int]
    #: 0 to 1, of each
    scores: Sequence[float]


def stated(
    objects: Objects, whole: Prediction, image: Input, labels: Sequence[Label]
) -> Prediction:
    """State objects as a segment and a detection each, in place of what ``whole`` found."""
    left_out = max(0, len(objects.of_label) - _MOST)
    masks = np.where(objects.numbers > _MOST, 0, objects.numbers).astype(np.uint8)
    of_label = objects.of_label[:_MOST]
    named = _named(of_label, labels)
    sentence = f"{left_out} smaller objects were left out: a map holds {_MOST}"
    return dataclasses.replace(
        whole,
        findings=(
            *measures.segments(masks, image, named),
            *_detections(masks, dataclasses.replace(objects, of_label=of_label), image, labels),
        ),
        label_map=masks if named else None,
        maps=(),
        warnings=(*whole.warnings, sentence) if left_out else whole.warnings,
    )


def _named(of_label: Sequence[int], labels: Sequence[Label]) -> list[Label]:
    by_number = {label.number: label for label in labels}
    return [
        dataclasses.replace(
            by_number[label], number=number, name=f"{by_number[label].name} {number}"
        )
        for number, label in enumerate(of_label, start=1)
    ]


def _detections(
    masks: NDArray[np.uint8], objects: Objects, image: Input, labels: Sequence[Label]
) -> list[Detection]:
    by_number = {label.number: label for label in labels}
    parts = zip(ndimage.find_objects(masks), objects.of_label, objects.scores, strict=False)
    found = []
    for part, of_label, score in parts:
        label = by_number[of_label]
        low, high = (
            np.array([getattr(side, end) for side in part], float) for end in ("start", "stop")
        )
        centre = size = None
        if isinstance(image, Volume):
            centre = _three(image.to_patient((low + high) / 2 - 0.5))
            size = _three((high - low) * np.asarray(image.spacing))
        found.append(
            Detection(
                label=label.name,
                score=score,
                index_box=(*_three(low), *_three(high)),
                centre=centre,
                size=size,
                code=label.code,
            )
        )
    return found


def _components(inner: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Number the parts of every label that are connected by faces, or by sides in a plane."""
    connectivity: Literal[4, 6] = 6 if inner.ndim == 3 else 4
    found = cc3d.connected_components(np.ascontiguousarray(inner), connectivity=connectivity)
    return np.asarray(found, np.int64)


def _by_frame(inner: NDArray[np.uint8]) -> NDArray[np.int64]:
    parts = np.zeros(inner.shape, np.int64)
    for frame, target in zip(inner, parts, strict=True):
        found = _components(frame)
        target[...] = np.where(found > 0, found + parts.max(), 0)
    return parts


def _give(found: NDArray[np.int64], is_border: NDArray[np.bool_], image: Input) -> None:
    """Give each voxel of a border to the nearest object, in millimetres where they are known."""
    if isinstance(image, Volume):
        sampling = image.spacing
    else:
        rows, columns = image.spacing or (1.0, 1.0)
        # another frame is farther than every pixel of the own one
        sampling = (sum(found.shape) * max(rows, columns), rows, columns)
    nearest = ndimage.distance_transform_edt(
        found == 0, sampling=sampling, return_distances=False, return_indices=True
    )
    given = found[tuple(nearest)]
    found[is_border] = given[is_border]


def _three(values: NDArray[np.float64]) -> Point:
    return float(values[0]), float(values[1]), float(values[2])
