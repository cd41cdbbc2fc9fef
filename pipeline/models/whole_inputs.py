"""What a classifier sees of a whole input, and the way back of what it says of places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F  # noqa: N812, the name everybody knows it by
from numpy.typing import NDArray
from torch import Tensor

from pipeline.models import grids, planes, preprocess
from pipeline.models.options import ClassificationOptions
from pipeline.models.spec import ModelSpec
from pipeline.volume import Channels, Image, Input


def network_input(image: Input | Channels, spec: ModelSpec) -> Tensor:
    """Return what the network sees: float32, 0 to 1, (frames, channels, *spec.input.size).

    Training uses this too, so that a model meets in use what it learned from.
    """
    options = ClassificationOptions.model_validate(dict(spec.options))
    if isinstance(image, Image):
        scaled = planes.frames(image, spec.input)[0]
        # a loop is one sequence, or each of its frames an image
        scaled = scaled[None] if spec.input.spatial_dims == 3 else scaled.transpose(0, 1)
    else:
        volumes = image.volumes if isinstance(image, Channels) else (image,)
        prepared = preprocess.prepare_channels(volumes, spec.input).image
        if isinstance(image, Channels) and not all(image.present):
            every = prepared.new_zeros(len(image.present), *prepared.shape[1:])
            every[list(image.present)] = prepared
            prepared = every
        # the channels of a whole volume, or of each of its slices
        scaled = prepared[None] if spec.input.spatial_dims == 3 else prepared.transpose(0, 1)
    if options.fit == "crop":
        return _centre(scaled, spec.input.size)
    return _resize(scaled, spec.input.size)


def on_source(values: Tensor, image: Input | Channels, spec: ModelSpec) -> NDArray[np.float32]:
    """Return a map of what the network saw (frames, *spec.input.size) on the grid of its input.

    The way back of ``network_input``: what was cut off is 0, what was stretched is interpolated.
    """
    options = ClassificationOptions.model_validate(dict(spec.options))
    fit = _centre if options.fit == "crop" else _resize
    if isinstance(image, Image):
        shape = image.pixels.shape[:3]
        if spec.input.spatial_dims == 3:
            return np.ascontiguousarray(fit(values[None], shape)[0, 0].numpy())
        return np.ascontiguousarray(fit(values[:, None], shape[1:])[:, 0].numpy())
    # several series share one grid
    volume = image.volumes[0] if isinstance(image, Channels) else image
    grid = grids.whole_grid(volume, spec.input)
    if spec.input.spatial_dims == 3:
        laid = fit(values[None], grid.shape)[0, 0]
    else:
        laid = fit(values[:, None], grid.shape[1:])[:, 0]
    return preprocess.back_to_source(laid, grid).numpy()


def _resize(values: Tensor, size: Sequence[int]) -> Tensor:
    """Stretch to ``size``; planes are smoothed where they shrink, so that nothing small is lost."""
    if tuple(values.shape[2:]) == tuple(size):
        return values
    if len(size) == 2:
        return F.interpolate(values, tuple(size), mode="bilinear", antialias=True)
    return F.interpolate(values, tuple(size), mode="trilinear")


def _centre(values: Tensor, size: Sequence[int]) -> Tensor:
    """Cut or pad with zeros, the middle staying the middle."""
    for axis, want in enumerate(size, start=2):
        have = values.shape[axis]
        if have > want:
            values = values.narrow(axis, (have - want) // 2, want)
        elif have < want:
            missing = want - have
            widths = [0, 0] * (values.ndim - 1 - axis) + [missing // 2, missing - missing // 2]
            values = F.pad(values, widths)
    return values.contiguous()
