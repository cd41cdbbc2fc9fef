"""Boxes on the source grid from the boxes that a detector answers with.

A program's boxes lie in the index space of the image that its preprocessing made. Where the program
goes on to turn them into patient coordinates by that image's affine, it takes whole numbers for
voxel centres; where it does not, for voxel edges, as MONAI's clipping to the image does.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import ModelMismatch
from pipeline.models.program.flow import TURN_BOXES, steps
from pipeline.models.program.handing import ras_affine
from pipeline.models.spec import Label
from pipeline.results import Detection
from pipeline.volume import Volume


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """What a detector says of one image."""

    #: (n, 2 * axes): first edges, then last ones, in the index space of the prepared image
    edges: NDArray[np.float64]
    scores: NDArray[np.float64]
    numbers: NDArray[np.int64]


def read(data: Mapping[str, Any], keys: tuple[str, str, str]) -> Boxes:
    """Take the boxes out of postprocessed data.

    Args:
        data: with boxes (n, 2 * axes), scores (n,) and class numbers (n,).
        keys: under which these three are.

    Raises:
        ModelMismatch: one is missing, or their numbers differ.

    """
    if any(key not in data for key in keys):
        sentence = f"the program leaves no boxes under {', '.join(keys)}"
        raise ModelMismatch(sentence)
    edges, scores, numbers = (torch.as_tensor(data[key]).cpu() for key in keys)
    if not len(edges) == len(scores) == len(numbers):
        sentence = f"{len(edges)} boxes have {len(scores)} scores and {len(numbers)} classes"
        raise ModelMismatch(sentence)
    return Boxes(
        edges=edges.double().numpy(),
        scores=scores.double().numpy(),
        numbers=numbers.long().numpy(),
    )


def are_centred(chain: Compose) -> bool:
    """Whether whole numbers are voxel centres: the program turns boxes by an affine."""
    return any(isinstance(one, TURN_BOXES[0]) for one in steps(chain))


def in_volume(
    boxes: Boxes,
    prepared: Tensor,
    volume: Volume,
    labels: Sequence[Label],
    *,
    is_centred: bool,
) -> list[Detection]:
    """State boxes of a volume, the most certain first."""
    if not isinstance(prepared, MetaTensor):
        raise ModelMismatch("the prepared image has lost its place in the patient")
    affine = np.asarray(prepared.affine.cpu().numpy(), np.float64)
    to_index = np.linalg.inv(ras_affine(volume)) @ affine
    found = []
    for edges, score, number in _each(boxes):
        low, high = _corners(edges, to_index, is_centred=is_centred)
        # reversed: MONAI counts columns, rows, slices
        first, past = _clipped(low[::-1], high[::-1], volume.stored.shape)
        centre = volume.to_patient((low[::-1] + high[::-1]) / 2)
        size = (high - low)[::-1] * np.asarray(volume.spacing)
        label = _label(labels, number)
        found.append(
            Detection(
                label=label.name,
                score=score,
                index_box=(*first, *past),
                centre=_three(centre),
                size=_three(size),
                code=label.code,
            )
        )
    return sorted(found, key=lambda one: (-one.score, one.index_box))


def in_frame(
    boxes: Boxes, prepared: Tensor, frame: int, shape: Sequence[int], labels: Sequence[Label]
) -> list[Detection]:
    """State boxes of one frame (rows, columns) of an image, the most certain first."""
    affine = np.eye(3)
    if isinstance(prepared, MetaTensor):
        affine = np.asarray(prepared.affine.cpu().numpy(), np.float64)[np.ix_([0, 1, 3], [0, 1, 3])]
    found = []
    for edges, score, number in _each(boxes):
        low, high = _corners(edges, affine, is_centred=False)
        first, past = _clipped(low[::-1], high[::-1], shape)
        label = _label(labels, number)
        found.append(
            Detection(
                label=label.name,
                score=score,
                index_box=(float(frame), *first, float(frame + 1), *past),
                centre=None,
                size=None,
                code=label.code,
            )
        )
    return sorted(found, key=lambda one: (-one.score, one.index_box))


def _each(boxes: Boxes) -> Any:
    return zip(boxes.edges, boxes.scores.tolist(), boxes.numbers.tolist(), strict=True)


def _corners(
    edges: NDArray[np.float64], to_index: NDArray[np.float64], *, is_centred: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the box (low, high) around the moved corners of a box, in voxel centres."""
    count = len(edges) // 2
    ends = edges.reshape(2, count) - (0.0 if is_centred else 0.5)
    corners = np.array(list(itertools.product(*ends.T)))
    moved = corners @ to_index[:count, :count].T + to_index[:count, count]
    return moved.min(axis=0), moved.max(axis=0)


def _clipped(
    low: NDArray[np.float64], high: NDArray[np.float64], shape: Sequence[int]
) -> tuple[Any, Any]:
    """Return the edges of a box given by voxel centres, inside the image."""
    bounds = np.asarray(shape, np.float64)
    first, past = (np.clip(ends + 0.5, 0, bounds) for ends in (low, high))
    return tuple(map(float, first)), tuple(map(float, past))


def _label(labels: Sequence[Label], number: int) -> Label:
    for label in labels:
        if label.number == number:
            return label
    raise ModelMismatch(f"the program answers with class {number} of {len(labels)} labels")


def _three(values: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
