"""Label maps from what a program answers: the metadata's numbers, on the source grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from monai.transforms.post.dictionary import Invertd
from monai.transforms.spatial.array import SpatialResample
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import ModelMismatch
from pipeline.models.program.flow import steps
from pipeline.models.spec import Label

#: an affine this close (mm) is the same grid; MONAI's inverse leaves rounding of float64
_SAME_GRID: Final = 1e-3
#: logits by which one channel is certain
_CERTAIN: Final = 20.0
#: voxels along each axis of an answer that is made up
_PROBE: Final = 4


def of_answer(answer: Tensor, labels: Sequence[Label], activation: str) -> tuple[Tensor, int]:
    """Turn the channels of an answer into one channel of whole numbers.

    Args:
        answer: (channels, *spatial): label numbers, masks of zeros and ones, or probabilities.
        labels: numbered from 1.
        activation: "softmax" (the largest channel counts), "sigmoid" (those above one half), or
            "none" where the postprocessing has turned logits into one of the above.

    Returns:
        Numbers (1, *spatial), and how many voxels lie in several masks; there the last one counts.

    Raises:
        ModelMismatch: another number of channels than labels, or values that are neither.

    """
    if len(answer) == 1 and activation == "none" and not _is_mask(answer, labels):
        return answer, 0
    first = _first_label(len(answer), labels)
    if activation == "softmax" or (first == 0 and not _is_binary(answer)):
        return answer.argmax(0, keepdim=True), 0
    if activation == "sigmoid":
        answer = answer.sigmoid()
    low, high = float(answer.min()), float(answer.max())
    if low < 0 or high > 1:
        sentence = f"masks with values from {low:.3g} to {high:.3g} are no probabilities (0 to 1): "
        raise ModelMismatch(sentence + "the bundle's options must name the activation")
    masks = answer > 0.5
    numbers = torch.zeros_like(answer[:1])
    for number, mask in enumerate(masks, start=first):
        if number:
            numbers[mask[None]] = number
    foreground = masks[1:] if first == 0 else masks
    return numbers, int((foreground.sum(0) > 1).sum())


def meanings(
    chain: Compose, answer_shape: Sequence[int], labels: Sequence[Label], key: str
) -> Mapping[int, int]:
    """Find which label each number stands for that the postprocessing writes.

    Bundles write numbers of their own (BraTS: 4 for the third channel). What a number means is what
    the postprocessing makes of an answer in which one channel alone is certain.

    Args:
        chain: the postprocessing; what inverts is left out.
        answer_shape: (channels, *spatial) of the network's answer, () where it is no array.
        labels: numbered from 1; the channels are these, or background and these.
        key: where the answer is.

    Returns:
        The label's number by the number that is written; empty where that cannot be told.

    """
    if not answer_shape or answer_shape[0] not in {len(labels), len(labels) + 1}:
        return {}
    channels, *spatial = answer_shape
    first = _first_label(channels, labels)
    probe = (channels, *(min(count, _PROBE) for count in spatial))
    found: dict[int, int] = {}
    for channel in range(channels):
        written = _written(chain, probe, channel, key)
        label = channel + first
        if written is None or (written == 0) != (label == 0) or written in found:
            return {}
        found[written] = label
    return found


def to_labels(
    numbers: NDArray[Any], meaning: Mapping[int, int], labels: Sequence[Label]
) -> NDArray[np.uint8]:
    """Return the labels' numbers for the numbers that a program wrote, as uint8.

    Raises:
        ModelMismatch: a number is no whole one, or no label has it.

    """
    known = {0: 0, **{label.number: label.number for label in labels}}
    if meaning:
        known = {0: 0, **meaning}
    found = np.unique(numbers)
    for number in found:
        if number not in known:
            names = ", ".join(str(one) for one in sorted(known))
            raise ModelMismatch(f"the program answers with label {number:g}, stated are {names}")
    result = np.zeros(numbers.shape, np.uint8)
    for number in found:
        if known[int(number)]:
            result[numbers == number] = known[int(number)]
    return result


def on_grid(numbers: Tensor, affine: NDArray[np.float64], shape: Sequence[int]) -> Tensor:
    """Return numbers (1, *spatial) on a grid; what already lies there stays as it is.

    Elsewhere the nearest voxel counts, as in MONAI's ``SaveImage(resample=True)``.

    Args:
        numbers: with its affine, where it is a ``MetaTensor``.
        affine: (4, 4) of the grid, in the space of MONAI's affines.
        shape: of the grid.

    Raises:
        ModelMismatch: it lies on another grid and does not say which.

    """
    is_shape = tuple(numbers.shape[1:]) == tuple(shape)
    if not isinstance(numbers, MetaTensor):
        if is_shape:
            return numbers
        sentence = f"the program answers on a grid of {tuple(numbers.shape[1:])} that it does not "
        raise ModelMismatch(sentence + f"place; the image has {tuple(shape)}")
    if is_shape and np.allclose(_affine(numbers), affine, atol=_SAME_GRID):
        return numbers.as_tensor()
    resample = SpatialResample(mode="nearest", padding_mode="border", align_corners=False)
    moved = resample(
        numbers.float(), dst_affine=torch.from_numpy(affine), spatial_size=tuple(shape)
    )
    return torch.as_tensor(moved)


def _affine(image: MetaTensor) -> NDArray[np.float64]:
    return np.asarray(image.affine.cpu().numpy(), np.float64)


def _first_label(channels: int, labels: Sequence[Label]) -> int:
    """Return what channel 0 stands for: 0 is background."""
    if channels == len(labels) + 1:
        return 0
    if channels == len(labels):
        return 1
    sentence = f"the program answers with {channels} channels for {len(labels)} labels"
    raise ModelMismatch(f"{sentence} and background")


def _is_mask(answer: Tensor, labels: Sequence[Label]) -> bool:
    """Whether a lone channel holds the probabilities of a lone label."""
    return len(labels) == 1 and not _is_binary(answer)


def _is_binary(answer: Tensor) -> bool:
    return bool(((answer == 0) | (answer == 1)).all())


def _written(chain: Compose, probe: Sequence[int], certain: int, key: str) -> int | None:
    """Return the one number that an answer with one certain channel becomes, None if not one."""
    logits = torch.full(tuple(probe), -_CERTAIN)
    logits[certain] = _CERTAIN
    data: dict[str, Any] = {key: MetaTensor(logits)}
    for transform in steps(chain):
        if isinstance(transform, Invertd):
            continue
        try:
            data = transform(data)
        # it needs more than the answer, so it cannot be asked
        except (KeyError, RuntimeError, ValueError, TypeError, IndexError, AssertionError):
            return None
    answer = data.get(key)
    if not isinstance(answer, torch.Tensor) or len(answer) != 1:
        return None
    found = torch.unique(answer)
    return int(found) if found.numel() == 1 and float(found) == int(found) else None
