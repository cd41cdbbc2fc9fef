"""Which slices show what was found, and their values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.results import Detection, Prediction, Segment
from pipeline.volume import Input, Volume


def slice_count(image: Input) -> int:
    """Return the number of slices or frames."""
    return int((image.stored if isinstance(image, Volume) else image.pixels).shape[0])


def plane_shape(image: Input) -> tuple[int, int]:
    """Return (rows, columns)."""
    shape = (image.stored if isinstance(image, Volume) else image.pixels).shape
    return shape[1], shape[2]


def values_of(image: Input, index: int) -> NDArray[Any]:
    """Return one slice in the image's unit, (rows, columns[, 3])."""
    if isinstance(image, Volume):
        plane = image.stored[index].astype(np.float32)
        return np.asarray(plane * np.float32(image.slope) + np.float32(image.intercept))
    return np.asarray(image.pixels[index])


def detections_of(prediction: Prediction) -> list[Detection]:
    """Return the boxes, in the order of the prediction."""
    return [finding for finding in prediction.findings if isinstance(finding, Detection)]


def telling(prediction: Prediction, count: int) -> list[int]:
    """Return the slice with most of each segment, then the middle of each box, best first."""
    wanted: list[int] = []
    labels = prediction.label_map
    if labels is not None:
        for finding in prediction.findings:
            if isinstance(finding, Segment) and finding.voxels:
                areas = [np.count_nonzero(plane == finding.number) for plane in labels]
                wanted.append(int(np.argmax(areas)))
    for detection in sorted(detections_of(prediction), key=lambda d: -d.score):
        middle = (detection.index_box[0] + detection.index_box[3]) / 2.0 - 0.5
        wanted.append(int(np.clip(round(middle), 0, count - 1)))
    return wanted


def evenly(count: int, most: int) -> list[int]:
    """Return at most ``most`` indices, spread evenly over ``count`` slices."""
    return [round(value) for value in np.linspace(0, count - 1, min(count, most))]
