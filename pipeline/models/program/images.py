"""Derived images from what a program answers."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import ModelMismatch
from pipeline.results import DerivedImage

_RAS_TO_LPS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
_NAME: Final = "program output"


def of_volume(answer: Tensor, prepared: Tensor, name: str) -> DerivedImage:
    """Return the image that a program made of a volume, with its place in the patient.

    Args:
        answer: (1, x, y, z) as the postprocessing leaves it.
        prepared: the image that the network saw: an answer of n times its voxels lies within the
            same borders, each of its voxels cut into n.
        name: of the derived image.

    Raises:
        ModelMismatch: several channels, or an answer without a place.

    """
    _check_channels(answer)
    if not isinstance(answer, MetaTensor):
        raise ModelMismatch("the program's image has lost its place in the patient")
    affine = np.asarray(answer.affine.cpu().numpy(), np.float64)
    is_on_prepared = isinstance(prepared, MetaTensor) and np.allclose(
        affine, prepared.affine.cpu().numpy()
    )
    if is_on_prepared:
        affine = affine @ _finer(tuple(answer.shape[1:]), tuple(prepared.shape[1:]))
    # index (slice, row, column) to (x, y, z) = (column, row, slice)
    return DerivedImage(
        name=name,
        values=_float32(answer.as_tensor()[0].permute(2, 1, 0)),
        affine=_RAS_TO_LPS @ affine @ np.eye(4)[[2, 1, 0, 3]],
    )


def of_frames(answers: list[Tensor], name: str) -> DerivedImage:
    """Return the image (frames, rows, columns) that a program made of an image's frames."""
    for answer in answers:
        _check_channels(answer)
    frames = torch.stack([torch.as_tensor(answer)[0].T for answer in answers])
    return DerivedImage(name=name, values=_float32(frames), affine=None)


def _finer(shape: tuple[int, ...], prepared: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the map (4, 4) from the answer's index to the prepared image's."""
    change = np.eye(4)
    for axis, (have, had) in enumerate(zip(shape, prepared, strict=True)):
        step = had / have
        change[axis, axis] = step
        change[axis, 3] = (step - 1) / 2
    return change


def _check_channels(answer: Tensor) -> None:
    if len(answer) != 1:
        raise ModelMismatch(
            f"a derived image has 1 channel, the program answers with {len(answer)}"
        )


def _float32(values: Any) -> NDArray[np.float32]:
    return np.ascontiguousarray(torch.as_tensor(values).cpu().numpy(), np.float32)
