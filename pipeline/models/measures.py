"""Counts, volumes and centroids of the labels of a label map, in one pass over its foreground."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.models.spec import Label
from pipeline.results import Code, Segment, ValueMap
from pipeline.volume import Input, Volume

_PROBABILITY: Final = Code(scheme="DCM", value="122157", meaning="Probability")


def segments(
    label_map: NDArray[np.uint8], image: Input, labels: Sequence[Label]
) -> tuple[Segment, ...]:
    """State every label, the empty ones too.

    Args:
        label_map: uint8 (slices or frames, rows, columns) on the grid of ``image``.
        image: for the place in the patient. Pixels of an ``Image`` have no place and no volume.
        labels: what the numbers mean.

    Returns:
        One segment for each label, in the order of ``labels``.

    """
    counts, sums = _moments(label_map)
    is_loop = not isinstance(image, Volume) and len(label_map) > 1
    found = []
    for label in labels:
        voxels = int(counts[label.number])
        centroid, voxel_ml = None, 0.0
        if isinstance(image, Volume):
            voxel_ml = image.voxel_volume_ml
            if voxels:
                x, y, z = image.to_patient(sums[label.number] / voxels)
                centroid = (float(x), float(y), float(z))
        found.append(
            Segment(
                number=label.number,
                label=label.name,
                voxels=voxels,
                volume_ml=voxels * voxel_ml,
                centroid=centroid,
                frames=_frames(label_map, label.number) if is_loop and voxels else (),
                code=label.code,
                category=label.category,
            )
        )
    return tuple(found)


def probability_maps(
    probabilities: NDArray[np.float32], labels: Sequence[Label]
) -> tuple[ValueMap, ...]:
    """Return the map of each label out of those of all classes (classes, slices, rows, columns)."""
    return tuple(
        ValueMap(
            name=f"probability of {label.name}",
            values=probabilities[label.number],
            code=_PROBABILITY,
            segment=label.number,
        )
        for label in labels
    )


def _frames(label_map: NDArray[np.uint8], number: int) -> tuple[int, ...]:
    """Return the frames, from 1, that show a label."""
    shown = (label_map == number).any(axis=(1, 2))
    return tuple((np.flatnonzero(shown) + 1).tolist())


def _moments(label_map: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return voxels (256,) and summed indices (256, 3) of every label value, exactly."""
    counts = np.zeros(256, np.int64)
    sums = np.zeros((256, 3))
    for number, plane in enumerate(label_map):
        # only the foreground is counted: bincount would widen every voxel of the volume to int64
        rows, columns = np.nonzero(plane)
        if rows.size == 0:
            continue
        values = plane[rows, columns]
        here = np.bincount(values, minlength=256)
        counts += here
        sums[:, 0] += here * number
        sums[:, 1] += np.bincount(values, weights=rows, minlength=256)
        sums[:, 2] += np.bincount(values, weights=columns, minlength=256)
    return counts, sums
