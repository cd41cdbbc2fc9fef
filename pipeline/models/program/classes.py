"""Scores of whole images from what a program answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from monai.transforms.compose import Compose
from monai.transforms.post.dictionary import AsDiscreted
from torch import Tensor

from pipeline.errors import ModelMismatch
from pipeline.models.program.flow import steps
from pipeline.models.spec import Label
from pipeline.results import Classification

#: float32 sums of probabilities are this close to their range
_TOLERANCE: Final = 1e-4


def scores(answer: Tensor, labels: Sequence[Label], activation: str) -> list[float]:
    """Return one score for each label, in the order of their numbers.

    Args:
        answer: as the postprocessing leaves it: a value for each label, or the number of one.
        labels: what the numbers mean.
        activation: "softmax", "sigmoid", or "none" where the answer holds probabilities already.

    Raises:
        ModelMismatch: another number of values, or values that are no probabilities.

    """
    values = torch.as_tensor(answer).flatten().double().cpu()
    if values.numel() == 1 < len(labels):
        values = _of_number(float(values), len(labels))
    if values.numel() != len(labels):
        sentence = f"the program answers with {values.numel()} values for {len(labels)} labels"
        raise ModelMismatch(sentence)
    if activation == "softmax":
        values = values.softmax(0)
    elif activation == "sigmoid":
        values = values.sigmoid()
    low, high = float(values.min()), float(values.max())
    if low < -_TOLERANCE or high > 1 + _TOLERANCE:
        sentence = f"scores from {low:.3g} to {high:.3g} are no probabilities (0 to 1): "
        raise ModelMismatch(sentence + "the bundle's options must name the activation")
    return [float(value) for value in values.clamp(0, 1)]


def findings(by_frame: Sequence[Sequence[float]], labels: Sequence[Label]) -> list[Classification]:
    """State the mean score of all frames for each label; the highest is the top one."""
    means = np.mean(np.asarray(by_frame), axis=0)
    top = int(np.argmax(means))
    return [
        Classification(
            label=label.name,
            score=float(means[label.number]),
            code=label.code,
            is_top=label.number == top,
        )
        for label in labels
    ]


def are_decided(chain: Compose) -> bool:
    """Whether the postprocessing leaves the label itself instead of scores."""
    return any(isinstance(step, AsDiscreted) for step in steps(chain))


def _of_number(value: float, count: int) -> Tensor:
    if value != int(value) or not 0 <= value < count:
        raise ModelMismatch(f"the program answers with label {value:g} of {count} labels")
    return torch.nn.functional.one_hot(torch.tensor(int(value)), count).double()
